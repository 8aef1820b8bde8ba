// Arrows counts how the files of the library depend on each other. An arrow goes from a
// file to another that declares a function, a method, a type, a variable or a constant
// which the first one uses. The files are put in the order in which the fewest arrows run
// back up: each of those is a circle, of files that nobody can understand one at a time.
//
//	go run ./internal/arrows           # the files of the root
//	go run ./internal/arrows -deep     # and those of internal/ that it links
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/epinet/epi"

func main() {
	deep := flag.Bool("deep", false, "the packages of internal/ that the root links, too")
	flag.Parse()
	arrows, err := find(".", *deep)
	if err != nil {
		log.Fatal(err)
	}
	backward := backward(arrows)
	for _, a := range slices.SortedFunc(maps.Keys(arrows), arrow.compare) {
		mark := "    "
		if slices.Contains(backward, a) {
			mark = "back"
		}
		fmt.Println(mark, a.from, "→", a.to+":", strings.Join(slices.Sorted(maps.Keys(arrows[a])), " "))
	}
	fmt.Println(len(arrows), "arrows,", len(backward), "run back up")
}

type arrow struct{ from, to string }

func (a arrow) compare(b arrow) int { return strings.Compare(a.from+"\n"+a.to, b.from+"\n"+b.to) }

// names are what an arrow is for.
type names map[string]bool

// find returns the arrows of the module that dir is in, as it is built for this system.
func find(dir string, deep bool) (map[arrow]names, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{join .GoFiles \"\\t\"}}", module)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", cmd, err)
	}
	exports := map[string]string{}    // by import path, the file with a package's types
	chosen := map[string][]string{}   // by import path, the files of those whose arrows are wanted
	shortNames := map[string]string{} // of these files
	for line := range strings.Lines(string(out)) {
		p := strings.Split(strings.TrimSpace(line), "\t")
		path, dir := p[0], p[2]
		exports[path] = p[1]
		if path != module && !(deep && strings.HasPrefix(path, module+"/internal/")) {
			continue
		}
		for _, name := range p[3:] {
			file := filepath.Join(dir, name)
			chosen[path] = append(chosen[path], file)
			shortNames[file] = strings.TrimPrefix(path+"/"+name, module+"/")
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	arrows := map[arrow]names{}
	for path, files := range chosen {
		uses, err := check(fset, imports, path, files)
		if err != nil {
			return nil, err
		}
		for id, used := range uses {
			a := arrow{shortNames[fset.Position(id.Pos()).Filename], shortNames[fset.Position(used.Pos()).Filename]}
			if a.to == "" || a.from == a.to || !isDeclared(used) {
				continue
			}
			if arrows[a] == nil {
				arrows[a] = names{}
			}
			arrows[a][used.Name()] = true
		}
	}
	return arrows, nil
}

// check returns what the identifiers of a package stand for.
func check(fset *token.FileSet, imports types.Importer, path string, names []string) (map[*ast.Ident]types.Object, error) {
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	_, err := (&types.Config{Importer: imports}).Check(path, fset, files, info)
	return info.Uses, err
}

// isDeclared reports whether o is something that a file declares for others.
func isDeclared(o types.Object) bool {
	if f, ok := o.(*types.Func); ok {
		return f.Pkg() != nil // a method, too
	}
	return o.Pkg() != nil && o.Parent() == o.Pkg().Scope()
}

const (
	// orders is how many orders are tried. Beyond some dozens none is better.
	orders = 60
	seed   = 1 // the same result each time
)

// backward returns the arrows that run back up in the best order that is found: from
// random ones, single files are moved to where they are better off, as long as any is.
func backward(arrows map[arrow]names) (best []arrow) {
	all := slices.SortedFunc(maps.Keys(arrows), arrow.compare)
	files := map[string]bool{}
	for _, a := range all {
		files[a.from], files[a.to] = true, true
	}
	order := slices.Sorted(maps.Keys(files))
	random := rand.New(rand.NewPCG(seed, seed))
	for n := range orders {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for improve(order, arrows) {
		}
		if back := against(order, all); n == 0 || len(back) < len(best) {
			best = back
		}
	}
	return best
}

func against(order []string, all []arrow) (back []arrow) {
	for _, a := range all {
		if slices.Index(order, a.from) > slices.Index(order, a.to) {
			back = append(back, a)
		}
	}
	return back
}

// improve moves each file to its best place, and reports whether any was moved.
func improve(order []string, arrows map[arrow]names) (moved bool) {
	// gain is how many arrows more run down when x is before y, and not behind it.
	gain := func(x, y string) (n int) {
		if arrows[arrow{x, y}] != nil {
			n++
		}
		if arrows[arrow{y, x}] != nil {
			n--
		}
		return n
	}
	for i, file := range order {
		to, most := i, 0
		for j, sum := i-1, 0; j >= 0; j-- {
			if sum += gain(file, order[j]); sum > most {
				to, most = j, sum
			}
		}
		for j, sum := i+1, 0; j < len(order); j++ {
			if sum += gain(order[j], file); sum > most {
				to, most = j, sum
			}
		}
		if to != i {
			moved = true
			copy(order[i:], order[i+1:])
			copy(order[to+1:], order[to:len(order)-1])
			order[to] = file
		}
	}
	return moved
}
