package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

func newPatch(app *App) *cobra.Command {
	var namespace, patch string
	c := &cobra.Command{
		Use:   "patch KIND NAME -p PATCH",
		Short: "Change some fields of a resource",
		Long: "Change some fields of a resource by a merge patch (RFC 7386), in JSON or YAML: fields that are given take the place of those of the resource,\n" +
			"lists as a whole, and null removes. The result must be valid.",
		Args: cobra.ExactArgs(2),
	}
	in := addStore(c, app)
	addNamespace(c, &namespace)
	c.Flags().StringVarP(&patch, "patch", "p", "", "the fields to change, such as '{\"spec\": {\"order\": 100}}'")
	c.RunE = func(c *cobra.Command, args []string) error {
		info, err := findKind(args[0])
		if err != nil {
			return err
		}
		change, err := parsePatch(patch)
		if err != nil {
			return usage(err)
		}
		if namespace, err = in.namespace(namespace); err != nil {
			return err
		}
		store, err := in.open(false)
		if err != nil {
			return err
		}
		defer store.Close()
		key := keyArg(info, namespace, args[1])
		changed, err := patchStored(c.Context(), store, key, change)
		if err != nil {
			return writeError(named(key.String(), err))
		}
		what := "patched"
		if !changed {
			what += " (no change)"
		}
		fmt.Fprintf(app.Out, "%s %s\n", key, what)
		return nil
	}
	return c
}

func parsePatch(text string) (map[string]any, error) {
	if text == "" {
		return nil, errors.New("give the fields to change with -p")
	}
	var change map[string]any
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err == nil {
		err = json.Unmarshal(data, &change)
	}
	if err != nil || change == nil {
		return nil, fmt.Errorf("-p: not a mapping of fields in JSON or YAML; valid: '{\"spec\": {\"order\": 100}}', for one (%w)", err)
	}
	return change, nil
}

// patchStored changes a stored object, again where somebody else was quicker.
func patchStored(ctx context.Context, store datastore.Store, key v3.Key, change map[string]any) (changed bool, err error) {
	for {
		old, err := store.Get(ctx, key)
		if err != nil {
			return false, err
		}
		o, err := patched(old, change)
		if err != nil {
			return false, err
		}
		if equal(asGiven(old), asGiven(o)) {
			return false, nil
		}
		if _, err := store.Update(ctx, o); !errors.Is(err, datastore.ErrConflict) {
			return true, err
		}
	}
}

// patched is an object with some fields changed, valid and of the same key and revision.
func patched(old v3.Object, change map[string]any) (v3.Object, error) {
	if lacks := v3.Lacks(old); lacks != "" {
		return nil, fmt.Errorf("%w: %s, which would be lost: mend it first", datastore.ErrInvalid, lacks)
	}
	data, err := v3.Encode(old)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	if data, err = json.Marshal(mergePatch(fields, change)); err != nil {
		return nil, err
	}
	o, faults := v3.DecodeJSON(old.GetKind(), data, true)
	if o == nil {
		return nil, errors.Join(asErrors(faults)...)
	}
	if v3.KeyOf(o) != v3.KeyOf(old) {
		return nil, fmt.Errorf("%w: it would be %s; valid: changes of other fields than name and namespace", datastore.ErrInvalid, v3.KeyOf(o))
	}
	o.SetResourceVersion(old.GetResourceVersion())
	faults = judge(&local.Found{Object: o})
	faults = append(faults, v3.ValidateUpdate(old, o)...)
	return o, errors.Join(asErrors(faults)...)
}

// mergePatch is RFC 7386: target with what the patch says.
func mergePatch(target any, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, value := range fields {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = mergePatch(into[name], value)
		}
	}
	return into
}
