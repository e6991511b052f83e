// Renders the chart as Helm does, as far as its templates go: Go's own text/template with the functions that they use.
// Not Helm: no dependencies, no lookup, no order of manifests. It is given JSON: {"Values", "Release", "Chart", "files"}.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"text/template"
)

type input struct {
	Values  map[string]any
	Release map[string]any
	Chart   map[string]any
	Files   map[string]string `json:"files"`
}

func whole(number any) any { // JSON has no integers, and Helm's values do
	switch found := number.(type) {
	case float64:
		if found == float64(int64(found)) {
			return int64(found)
		}
	case map[string]any:
		for key, value := range found {
			found[key] = whole(value)
		}
	case []any:
		for index, value := range found {
			found[index] = whole(value)
		}
	}
	return number
}

func isEmpty(value any) bool {
	truth, ok := template.IsTrue(value)
	return !ok || !truth
}

// toYaml writes the outermost map or list in lines of its own, as they may follow others; what is inside is JSON, which is YAML.
func toYaml(value any) (string, error) {
	var lines []string
	add := func(before string, inner any) error {
		text, err := json.Marshal(inner)
		lines = append(lines, before+string(text))
		return err
	}
	var err error
	switch found := value.(type) {
	case map[string]any:
		var keys []string
		for key := range found {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			err = errors.Join(err, add(fmt.Sprintf("%q: ", key), found[key]))
		}
	case []any:
		for _, item := range found {
			err = errors.Join(err, add("- ", item))
		}
	default:
		err = add("", value)
	}
	if len(lines) == 0 {
		err = errors.Join(err, add("", value))
	}
	return strings.Join(lines, "\n"), err
}

func functions(root *template.Template) template.FuncMap {
	indent := func(count int, text string) string {
		space := strings.Repeat(" ", count)
		return space + strings.ReplaceAll(text, "\n", "\n"+space)
	}
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := root.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"indent":  indent,
		"nindent": func(count int, text string) string { return "\n" + indent(count, text) },
		"toYaml":     toYaml,
		"quote":      func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"trunc":      func(count int, text string) string { return text[:min(count, len(text))] },
		"trimSuffix": func(suffix, text string) string { return strings.TrimSuffix(text, suffix) },
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"default": func(other, value any) any {
			if isEmpty(value) {
				return other
			}
			return value
		},
		"required": func(message string, value any) (any, error) {
			if isEmpty(value) {
				return nil, errors.New(message)
			}
			return value, nil
		},
		"list":   func(items ...any) []any { return items },
		"append": func(items []any, item any) []any { return append(append([]any{}, items...), item) },
		"concat": func(lists ...[]any) (all []any) {
			for _, items := range lists {
				all = append(all, items...)
			}
			return
		},
		"join": func(separator string, items []any) string {
			texts := make([]string, len(items))
			for index, item := range items {
				texts[index] = fmt.Sprint(item)
			}
			return strings.Join(texts, separator)
		},
		"dict": func(items ...any) map[string]any {
			made := map[string]any{}
			for index := 0; index+1 < len(items); index += 2 {
				made[fmt.Sprint(items[index])] = items[index+1]
			}
			return made
		},
		"add": func(numbers ...int64) (sum int64) {
			for _, number := range numbers {
				sum += number
			}
			return
		},
	}
}

func main() {
	var given input
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		fail(err)
	}
	whole(any(given.Values))
	root := template.New("chart").Option("missingkey=zero")
	root.Funcs(functions(root))
	var names []string
	for name, text := range given.Files {
		template.Must(root.New(name).Parse(text))
		names = append(names, name)
	}
	sort.Strings(names)
	data := map[string]any{"Values": given.Values, "Release": given.Release, "Chart": given.Chart}
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out strings.Builder
		if err := root.ExecuteTemplate(&out, name, data); err != nil {
			fail(err)
		}
		if strings.TrimSpace(out.String()) != "" {
			fmt.Printf("---\n# Source: %s\n%s\n", name, out.String())
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
