// Evaluates Rego programs with the real OPA: one JSON document a line in, one answer a line out.
//
//	in:  {"modules": [text…], "data": {…}, "asked": [{"query": text, "input": any}…], "version": 0|1, "paths": bool}
//	out: {"answers": [{"rows": [[bindings, expressions]…]} | {"code": …, "message": …}…]}
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

type question struct {
	Query string `json:"query"`
	Input *any   `json:"input"`
}

type program struct {
	Modules []string       `json:"modules"`
	Data    map[string]any `json:"data"`
	Asked   []question     `json:"asked"`
	Version int            `json:"version"`
	Strict  bool           `json:"strict"`
	Format  string         `json:"format"` // a module to be formatted instead
}

type answer struct {
	Rows    [][2]any `json:"rows"`
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message,omitempty"`
	Codes   []string `json:"codes,omitempty"` // of all errors
	Reasons []string `json:"reasons,omitempty"`
}

func refused(err error) answer {
	var many ast.Errors
	var one *topdown.Error
	var rows rego.Errors
	switch {
	case errors.As(err, &many) && len(many) > 0:
		codes, reasons := []string{}, []string{}
		for _, each := range many {
			codes, reasons = append(codes, each.Code), append(reasons, each.Message)
		}
		return answer{Code: many[0].Code, Message: many[0].Message, Codes: codes, Reasons: reasons}
	case errors.As(err, &one):
		return answer{Code: one.Code, Message: one.Message}
	case errors.As(err, &rows) && len(rows) > 0:
		return refused(rows[0])
	}
	return answer{Code: "error", Message: err.Error()}
}

func (p program) all(err error) []answer {
	answers := make([]answer, len(p.Asked))
	for at := range answers {
		answers[at] = refused(err)
	}
	return answers
}

func (p program) answers() (answers []answer) {
	defer func() {
		if wrong := recover(); wrong != nil {
			answers = p.all(fmt.Errorf("panic: %v", wrong))
		}
	}()
	version := ast.RegoV1
	if p.Version == 0 {
		version = ast.RegoV0
	}
	modules := map[string]*ast.Module{}
	for at, text := range p.Modules {
		name := fmt.Sprintf("m%d.rego", at)
		module, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: version})
		if err != nil {
			return p.all(err)
		}
		modules[name] = module
	}
	compiler := ast.NewCompiler().WithDefaultRegoVersion(version)
	if compiler.Compile(modules); compiler.Failed() {
		return p.all(compiler.Errors)
	}
	store := inmem.NewFromObject(p.Data)
	for _, asked := range p.Asked {
		options := []func(*rego.Rego){rego.Compiler(compiler), rego.Store(store), rego.Query(asked.Query),
			rego.StrictBuiltinErrors(p.Strict), rego.SetRegoVersion(version)}
		if asked.Input != nil {
			options = append(options, rego.Input(*asked.Input))
		}
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		results, err := rego.New(options...).Eval(limit)
		cancel()
		if err != nil {
			answers = append(answers, refused(err))
			continue
		}
		rows := [][2]any{}
		for _, row := range results {
			values := []any{}
			for _, each := range row.Expressions {
				values = append(values, each.Value)
			}
			rows = append(rows, [2]any{row.Bindings, values})
		}
		answers = append(answers, answer{Rows: rows})
	}
	return answers
}

func (p program) formatted() map[string]any {
	version := ast.RegoV1
	if p.Version == 0 {
		version = ast.RegoV0
	}
	text, err := format.SourceWithOpts("m.rego", []byte(p.Format), format.Opts{RegoVersion: version,
		ParserOptions: &ast.ParserOptions{RegoVersion: version}})
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"text": string(text)}
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var p program
		if err := json.Unmarshal(line, &p); err != nil {
			panic(err)
		}
		answers := map[string]any{}
		if p.Format != "" {
			answers = p.formatted()
		} else {
			answers["answers"] = p.answers()
		}
		if err := out.Encode(answers); err != nil {
			panic(err)
		}
	}
}
