package config

import (
	"reflect"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestAbout holds the descriptions complete and free of fields that are gone.
func TestAbout(t *testing.T) {
	t.Parallel()
	left := map[string]bool{}
	for k := range about {
		left[k] = true
	}
	var walk func(reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(typ.Elem())
		case reflect.Struct:
			if seen[typ] {
				return
			}
			seen[typ] = true
			for i := range typ.NumField() {
				key := fieldKey(typ, typ.Field(i))
				if about[key] == "" {
					t.Errorf("field %s has no description", key)
				}
				delete(left, key)
				walk(typ.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[cairn.Agent]())
	for k := range left {
		t.Errorf("%s is described, but is no field", k)
	}
	for k := range rules {
		if about[k] == "" {
			t.Errorf("%s has a rule, but is no field", k)
		}
	}
}
