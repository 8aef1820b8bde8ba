package epitest

import (
	"fmt"
	"reflect"
	"sync/atomic"
)

// EachNumber calls visit for every number within the struct that p points to, atomic ones and
// those in arrays and slices among them: its path, and a function that sets it.
func EachNumber(p any, visit func(path string, set func(n int64))) {
	eachNumber(reflect.ValueOf(p).Elem(), "", visit)
}

func eachNumber(v reflect.Value, path string, visit func(string, func(int64))) {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem() // also if it is unexported
	switch at := v.Addr().Interface().(type) {
	case *atomic.Uint64:
		visit(path, func(n int64) { at.Store(uint64(n)) })
		return
	case *atomic.Int64:
		visit(path, at.Store)
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			eachNumber(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case v.Kind() == reflect.Array, v.Kind() == reflect.Slice:
		for i := range v.Len() {
			eachNumber(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case v.CanInt():
		visit(path, v.SetInt)
	case v.CanUint():
		visit(path, func(n int64) { v.SetUint(uint64(n)) })
	}
}
