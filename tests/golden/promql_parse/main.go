// Records what Prometheus' parser makes of expressions: the file promql_parse.json in this folder.
//
// Run in a scratch module:
//
//	go mod init record && go get github.com/prometheus/prometheus/promql/parser@v0.314.0
//	go run main.go < expressions.json > promql_parse.json
//
// Input: a JSON list of strings. Output: for each one either the error, or the printed and the prettified form, the
// value type, and the [type, start, end] of every node in depth-first order (offsets in bytes).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

type node struct {
	Kind       string
	Start, End int
}

func (n node) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{n.Kind, n.Start, n.End})
}

type record struct {
	Expr   string `json:"expr"`
	Error  string `json:"error,omitempty"`
	String string `json:"string,omitempty"`
	Pretty string `json:"pretty,omitempty"`
	Type   string `json:"type,omitempty"`
	Nodes  []node `json:"nodes,omitempty"`
}

func one(p parser.Parser, input string) record {
	expr, err := p.ParseExpr(input)
	if err != nil {
		return record{Expr: input, Error: err.Error()}
	}
	out := record{Expr: input, String: expr.String(), Pretty: parser.Prettify(expr), Type: parser.DocumentedType(expr.Type())}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if n != nil {
			r := n.PositionRange()
			kind := strings.TrimPrefix(fmt.Sprintf("%T", n), "*parser.")
			out.Nodes = append(out.Nodes, node{kind, int(r.Start), int(r.End)})
		}
		return nil
	})
	return out
}

func main() {
	p := parser.NewParser(parser.Options{
		EnableExperimentalFunctions:  true,
		ExperimentalDurationExpr:     true,
		EnableExtendedRangeSelectors: true,
		EnableBinopFillModifiers:     true,
	})
	var inputs []string
	if err := json.NewDecoder(os.Stdin).Decode(&inputs); err != nil {
		panic(err)
	}
	fmt.Println("[")
	for i, input := range inputs {
		text, err := json.Marshal(one(p, input))
		if err != nil {
			panic(err)
		}
		fmt.Print(string(text))
		if i < len(inputs)-1 {
			fmt.Print(",")
		}
		fmt.Println()
	}
	fmt.Println("]")
}
