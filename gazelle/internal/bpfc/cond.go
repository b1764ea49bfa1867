package bpfc

import (
	"slices"
	"strconv"
	"strings"
)

// condition evaluates #if, #ifdef or #ifndef.
func (p *preprocessor) condition(directive string, hash token, line []token) bool {
	if len(line) == 0 {
		p.problem(hash.file, hash.line, "#%s without a condition", directive)
		return false
	}
	if asksForArch(line) {
		p.file.ArchDependent = true
	}
	if directive != "if" {
		return p.isDefined(line[0].text) == (directive == "ifdef")
	}
	e := expression{tokens: p.expanded(p.operands(hash, line))}
	value := e.ternary(0)
	if e.wrong || e.at < len(e.tokens) {
		p.problem(hash.file, hash.line, "#if %s: cannot be evaluated", spell(line))
		return false
	}
	return value != 0
}

// asksForArch reports whether a condition depends on the architecture.
func asksForArch(line []token) bool {
	return slices.ContainsFunc(line, func(t token) bool {
		return t.kind == kindIdent && (strings.HasPrefix(t.text, "__TARGET_ARCH_") || strings.HasPrefix(t.text, "bpf_target_"))
	})
}

// Operators of #if that this compiler has, whatever their argument.
var yes = map[string]bool{
	"__has_attribute":     true,
	"__has_builtin":       true,
	"__has_feature":       true,
	"__has_extension":     true,
	"__has_c_attribute":   true,
	"__has_include":       true,
	"__has_include_next":  true,
	"__has_declspec":      true,
	"__is_identifier":     true,
	"__building_module":   true,
	"__has_warning":       true,
	"__has_embed":         true,
	"__has_cpp_attribute": true,
}

func (p *preprocessor) isDefined(name string) bool {
	return p.macro(name) != nil || yes[name] ||
		name == "__COUNTER__" || name == "__LINE__" || name == "__FILE__"
}

// operands replaces defined(X) and __has_...(X), whose operands are not expanded.
func (p *preprocessor) operands(hash token, line []token) []token {
	var out []token
	number := func(b bool) {
		text := "0"
		if b {
			text = "1"
		}
		out = append(out, token{text: text, kind: kindNumber, file: hash.file, line: hash.line, flags: space})
	}
	for i := 0; i < len(line); i++ {
		t := line[i]
		switch {
		case t.isIdent("defined") && i+1 < len(line) && line[i+1].kind == kindIdent:
			i++
			number(p.isDefined(line[i].text))
		case t.isIdent("defined") && i+3 < len(line) && line[i+1].isChar('(') && line[i+3].isChar(')'):
			number(p.isDefined(line[i+2].text))
			i += 3
		case t.kind == kindIdent && yes[t.text] && i+1 < len(line) && line[i+1].isChar('('):
			operand := line[i+2:]
			depth := 0
			for i++; i < len(line); i++ {
				if line[i].isChar('(') {
					depth++
				} else if line[i].isChar(')') {
					if depth--; depth == 0 {
						break
					}
				}
			}
			if strings.HasPrefix(t.text, "__has_include") {
				path, angled, ok := headerName(operand)
				found := false
				if ok && p.scanner.open != nil {
					_, found = p.scanner.resolve(Lookup{
						From: hash.file.name, Path: path, Angled: angled, Next: t.text == "__has_include_next",
					})
				}
				// The system's headers are assumed to be there.
				number(found || ok && angled)
			} else {
				number(true)
			}
		default:
			out = append(out, t)
		}
	}
	return out
}

// An expression is one of #if, evaluated while it is parsed.
type expression struct {
	tokens []token
	at     int
	wrong  bool
}

// maxNesting bounds the recursion; the compilers' own bound is 256 parentheses.
const maxNesting = 300

func (e *expression) accept(op string) bool {
	if e.at < len(e.tokens) && e.tokens[e.at].is(op) {
		e.at++
		return true
	}
	return false
}

func (e *expression) ternary(depth int) int64 {
	if depth > maxNesting {
		e.wrong = true
		return 0
	}
	value := e.binary(0, depth)
	if !e.accept("?") {
		return value
	}
	yes := e.ternary(depth + 1)
	if !e.accept(":") {
		e.wrong = true
	}
	no := e.ternary(depth + 1)
	if value != 0 {
		return yes
	}
	return no
}

var precedence = map[string]int{
	"||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6,
	"<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}

func (e *expression) binary(least, depth int) int64 {
	left := e.unary(depth)
	for !e.wrong && e.at < len(e.tokens) && e.tokens[e.at].kind == kindPunct {
		op := e.tokens[e.at].text
		level := precedence[op]
		if level == 0 || level <= least {
			break
		}
		e.at++
		right := e.binary(level, depth+1)
		left = e.apply(op, left, right)
	}
	return left
}

func (e *expression) apply(op string, a, b int64) int64 {
	truth := func(v bool) int64 {
		if v {
			return 1
		}
		return 0
	}
	switch op {
	case "||":
		return truth(a != 0 || b != 0)
	case "&&":
		return truth(a != 0 && b != 0)
	case "|":
		return a | b
	case "^":
		return a ^ b
	case "&":
		return a & b
	case "==":
		return truth(a == b)
	case "!=":
		return truth(a != b)
	case "<":
		return truth(a < b)
	case ">":
		return truth(a > b)
	case "<=":
		return truth(a <= b)
	case ">=":
		return truth(a >= b)
	case "<<":
		return a << (uint64(b) & 63)
	case ">>":
		return a >> (uint64(b) & 63)
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	}
	// The operand of && or || that decides nothing may divide by zero.
	if b == 0 || b == -1 {
		if op == "/" {
			return -a * truth(b == -1)
		}
		return 0
	}
	if op == "/" {
		return a / b
	}
	return a % b
}

func (e *expression) unary(depth int) int64 {
	if depth > maxNesting || e.at >= len(e.tokens) {
		e.wrong = true
		return 0
	}
	t := e.tokens[e.at]
	e.at++
	switch {
	case t.isChar('!'):
		if e.unary(depth+1) == 0 {
			return 1
		}
		return 0
	case t.isChar('-'):
		return -e.unary(depth + 1)
	case t.isChar('+'):
		return e.unary(depth + 1)
	case t.isChar('~'):
		return ^e.unary(depth + 1)
	case t.isChar('('):
		value := e.ternary(depth + 1)
		if !e.accept(")") {
			e.wrong = true
		}
		return value
	case t.kind == kindNumber:
		text := strings.ToLower(strings.ReplaceAll(t.text, "'", ""))
		value, err := strconv.ParseUint(strings.TrimRight(text, "ul"), 0, 64)
		if err != nil {
			e.wrong = true
		}
		return int64(value)
	case t.kind == kindChar:
		if len(t.text) == 3 {
			return int64(t.text[1])
		}
		return 0
	case t.kind == kindIdent:
		// What is not a macro is 0. So is an unknown function-like operator.
		if e.accept("(") {
			for depth := 1; depth > 0; e.at++ {
				if e.at >= len(e.tokens) {
					e.wrong = true
					return 0
				}
				if e.tokens[e.at].isChar('(') {
					depth++
				} else if e.tokens[e.at].isChar(')') {
					depth--
				}
			}
		}
		return 0
	}
	e.wrong = true
	return 0
}
