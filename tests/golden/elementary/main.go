// Prints what Go's math library gives for some arguments: function, arguments and result as hexadecimal bits.
// On x86-64: go run main.go > values.txt
package main

import (
	"fmt"
	"math"
	"math/rand"
	"os"
	"strconv"
)

var unary = []struct {
	name string
	f    func(float64) float64
}{
	{"acos", math.Acos}, {"acosh", math.Acosh}, {"asin", math.Asin}, {"asinh", math.Asinh}, {"atan", math.Atan},
	{"atanh", math.Atanh}, {"cos", math.Cos}, {"cosh", math.Cosh}, {"exp", math.Exp}, {"exp2", math.Exp2},
	{"ln", math.Log}, {"log10", math.Log10}, {"log2", math.Log2}, {"sin", math.Sin}, {"sinh", math.Sinh},
	{"tan", math.Tan}, {"tanh", math.Tanh},
}

var binary = []struct {
	name string
	f    func(float64, float64) float64
}{{"atan2", math.Atan2}, {"pow", math.Pow}}

var special = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.5, -0.5, 2, -3, 0.66, 0.7, 21, 709.78, -745.1, -745.2, 1 << 29, 1e22, 1e300,
	5e-324, -1e-310, 2.2250738585072014e-308, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
}

func argument(r *rand.Rand) float64 {
	switch r.Intn(4) {
	case 0:
		return r.Float64()*2 - 1
	case 1:
		return r.NormFloat64() * 30
	case 2:
		return math.Float64frombits(r.Uint64())
	default:
		return math.Round(r.NormFloat64() * 12)
	}
}

func main() {
	count := 60
	if len(os.Args) > 1 {
		count, _ = strconv.Atoi(os.Args[1])
	}
	r := rand.New(rand.NewSource(1))
	bits := math.Float64bits
	for _, u := range unary {
		for i := 0; i < count+len(special); i++ {
			x := argument(r)
			if i < len(special) {
				x = special[i]
			}
			fmt.Printf("%s %x %x\n", u.name, bits(x), bits(u.f(x)))
		}
	}
	for _, b := range binary {
		for i := 0; i < 2*count+len(special)*len(special); i++ {
			x, y := argument(r), argument(r)
			if i < len(special)*len(special) {
				x, y = special[i/len(special)], special[i%len(special)]
			}
			fmt.Printf("%s %x %x %x\n", b.name, bits(x), bits(y), bits(b.f(x, y)))
		}
	}
}
