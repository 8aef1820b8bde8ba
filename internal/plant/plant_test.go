package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// Every fault has its place: who changes the source there changes the fault, too.
func TestFaults_HaveTheirPlace(t *testing.T) {
	const root = "../.."
	faults, err := readAll(root)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range faults {
		if names[f.name] {
			t.Errorf("two faults are named %q", f.name)
		}
		names[f.name] = true
		text, err := f.apply(root)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), f.file, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if len(faults) == 0 {
		t.Error("there are none")
	}
}

func TestParse(t *testing.T) {
	all, err := parse("# a comment\nin a.go\nrun ./a TestA\nfault one\n-x\n+y\n \tz\n\nfault two\n-x\n")
	if err != nil || len(all) != 2 {
		t.Fatalf("%d faults, %v", len(all), err)
	}
	if f := all[0]; f.name != "one" || f.file != "a.go" || f.pkg != "./a" || f.tests != "TestA" || !f.seeded || f.old != "x\n\tz\n" || f.new != "y\n\tz\n" {
		t.Errorf("%+v", f)
	}
	if f := all[1]; f.name != "two" || f.file != "a.go" || f.old != "x\n" || f.new != "" {
		t.Errorf("%+v", f)
	}
	if _, err := parse("fault one\nsomething else\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v", err)
	}
}

func TestSummary(t *testing.T) {
	for out, want := range map[string]string{
		"    x_test.go:3: seed 7 fails: it is lost\n        4 of 150 steps are needed.": "seed 7, 4 of 150 steps: it is lost",
		"    x_test.go:3: 1 of 2":                  "1 of 2",
		"panic: index out of range\n\ngoroutine 1": "panic: index out of range",
	} {
		var r result
		r.judge(out)
		if got := r.describe(); r.Outcome != caught || got != want {
			t.Errorf("%s, %q, want %q", r.Outcome, got, want)
		}
	}
}

// A test that has timed out has not caught its fault: the machine may be slow.
func TestJudge_TimeoutIsNotCaught(t *testing.T) {
	var r result
	r.judge("panic: test timed out after 5m0s\n\trunning tests:\n")
	if r.Outcome != tookTooLong || r.describe() != "TOOK TOO LONG" {
		t.Errorf("%s, %q", r.Outcome, r.describe())
	}
}

func TestResults_SummaryCountsEachList(t *testing.T) {
	few, many := uint64(4), uint64(900)
	all := results{Faults: []result{
		{List: "a", Outcome: caught, Seed: &many, Steps: 7},
		{List: "b", Outcome: survives},
		{List: "b", Outcome: tookTooLong},
		{List: "a", Outcome: caught, Seed: &few, Steps: 3},
	}}
	want := "a: 2 of 2 caught, 0 survive, 0 took too long; median seed 900, median steps 7\n" +
		"b: 0 of 2 caught, 1 survive, 1 took too long\n" +
		"all: 2 of 4 caught, 1 survive, 1 took too long; median seed 900, median steps 7\n"
	if got := all.summary(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
