package projections

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

// The rows of a read table are what the next page is folded onto. So the value of a field
// without a column is lost with the next page, and trust verify reports a difference from
// the log.
func TestEveryFieldOfAStateIsKeptInAColumnOfItsReadTable(t *testing.T) {
	t.Parallel()
	for table, lost := range map[string][]string{
		"municipalities": notKept(municipalitiesTable()), "users": notKept(usersTable()),
		"consents": notKept(consentsTable()),
	} {
		for _, field := range lost {
			t.Errorf("%s is in no column of the read table %s, which would lose it: add a column "+
				"(CONTRIBUTING.md, To add a projection), or keep it in a type of its own that only commands fold",
				field, table)
		}
	}
}

func TestAFieldThatNoColumnKeepsIsNamed(t *testing.T) {
	t.Parallel()
	type state struct {
		ID     domain.TenantID
		Name   string
		Motto  string
		Closed *time.Time
	}

	table := readTable[row[state]]{columns: []column[row[state]]{
		col("id", "uuid", func(r row[state]) [16]byte { return r.State.ID.UUID }),
		col("name", "text", func(r row[state]) string { return r.State.Name }),
		col("version", "integer", func(r row[state]) int32 { return int32(r.Version) }),
	}}
	if got, want := notKept(table), []string{"State.Motto", "State.Closed", "Position"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// notKept lists the fields of a row whose change shows in no column.
func notKept[R any](table readTable[R]) (lost []string) {
	nothing := table.values(make([]R, 1))
	var look func(of reflect.Type, name string, index []int)
	look = func(of reflect.Type, name string, index []int) {
		for i := range of.NumField() {
			field := of.Field(i)
			path, at := name+field.Name, append(slices.Clone(index), i)
			if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]() {
				look(field.Type, path+".", at)
				continue
			}
			if path == "State.Version" { // scans set it to the row's version
				continue
			}

			rows := make([]R, 1)
			change(reflect.ValueOf(&rows[0]).Elem().FieldByIndex(at))
			if reflect.DeepEqual(table.values(rows), nothing) {
				lost = append(lost, path)
			}
		}
	}
	look(reflect.TypeFor[R](), "", nil)
	return lost
}

// change sets a value other than the zero value.
func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Array:
		v.Index(0).SetUint(1)
	default:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
	}
}
