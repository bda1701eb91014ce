# METADATA
# title: x
package foo.bar
import rego.v2
import data.a as b
default p := false
p if { a = true; not x.y[z] == 1; some i, k in input.list; every m in [1, "a"] { m > 1 } ; y := f(1) with input as {"a": null} }
q contains x if { some x; x = {1, 2.5}[_] }
r[i].s := 1 if { i := [x | x := 1; true][0]; {a: 1 | a = 1}; {a | a = 2} }
f(x, [1]) := count(x) + 1 if { x } else := 3 if { false }
v := $"a {1} b"
w := set()
p2 if { a and b; { c; d } or e; not { x; y } ; not (a or b); (a and b) or c; a and b and c}
v2 := $"a {x + 1} {y with input as 1} {z}"
w2 := $`a
{q}`
