.PHONY: test race bench fuzz cross lint
test:  ; go test work
race:  ; go test -race work
bench: ; go test -run '^$$' -bench . -benchmem . ./internal/... ./frame ./ws
fuzz:  ; ./scripts/fuzz
cross: ; ./scripts/cross
lint:  ; test -z "$$(gofmt -l .)" && go vet work && for m in . metrics apps; do (cd $$m && go tool staticcheck ./...) || exit; done
