// Records what Prometheus computes from native histograms: the file native_histograms.json in this folder.
//
// Run in a scratch module:
//
//	go mod init record && go get github.com/prometheus/prometheus@v0.314.0
//	go run main.go > native_histograms.json
//
// Output: a JSON list. Each entry has a histogram, and what its quantiles, fractions, moments, trims, text and JSON are;
// and, with the histogram of the entry before it, sum and difference.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"os"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// A number as text, so that NaN and infinities can be told.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(n), 'g', -1, 64))
}

func numbers(values []float64) []number {
	out := []number{}
	for _, v := range values {
		out = append(out, number(v))
	}
	return out
}

func side(spans []histogram.Span, buckets []float64) [2]any {
	pairs := [][2]int{}
	for _, s := range spans {
		pairs = append(pairs, [2]int{int(s.Offset), int(s.Length)})
	}
	return [2]any{pairs, numbers(buckets)}
}

// The fields in the order of HistogramColumn.from_parts.
func parts(h *histogram.FloatHistogram) []any {
	hint := map[histogram.CounterResetHint]int{
		histogram.UnknownCounterReset: 0, histogram.CounterReset: 1,
		histogram.NotCounterReset: 2, histogram.GaugeType: 3,
	}[h.CounterResetHint]
	return []any{
		hint, h.Schema, number(h.ZeroThreshold), number(h.ZeroCount), number(h.Count), number(h.Sum),
		side(h.PositiveSpans, h.PositiveBuckets), side(h.NegativeSpans, h.NegativeBuckets), numbers(h.CustomValues),
	}
}

func randomSide(r *rand.Rand, room int32) ([]histogram.Span, []float64) {
	spans, buckets := []histogram.Span{}, []float64{}
	left := room
	for n := r.Intn(4); n > 0 && left > 4; n-- {
		s := histogram.Span{Offset: int32(r.Intn(3)), Length: uint32(1 + r.Intn(4))}
		if len(spans) == 0 {
			s.Offset = int32(r.Intn(20)) - 10
			if room < 100 {
				s.Offset = int32(r.Intn(3))
			}
		}
		left -= s.Offset + int32(s.Length)
		if room < 100 && left < 0 {
			break
		}
		spans = append(spans, s)
		for range s.Length {
			count := float64(r.Intn(9))
			if r.Intn(3) == 0 {
				count += r.Float64()
			}
			buckets = append(buckets, count)
		}
	}
	return spans, buckets
}

func random(r *rand.Rand) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{Schema: int32(r.Intn(13)) - 4, Sum: math.Round(r.NormFloat64()*1000) / 8}
	h.CounterResetHint = []histogram.CounterResetHint{
		histogram.UnknownCounterReset, histogram.CounterReset, histogram.NotCounterReset, histogram.GaugeType,
	}[r.Intn(4)]
	if r.Intn(4) == 0 {
		h.Schema = histogram.CustomBucketsSchema
		bound := float64(r.Intn(9) - 4)
		for n := 3 + r.Intn(6); n > 0; n-- {
			h.CustomValues = append(h.CustomValues, bound)
			bound += float64(1+r.Intn(6)) / 2
		}
		h.PositiveSpans, h.PositiveBuckets = randomSide(r, int32(len(h.CustomValues)+1))
	} else {
		h.PositiveSpans, h.PositiveBuckets = randomSide(r, 1000)
		if r.Intn(2) == 0 {
			h.NegativeSpans, h.NegativeBuckets = randomSide(r, 1000)
		}
		h.ZeroThreshold = []float64{0, 0.001, 0.25, 1, 3}[r.Intn(5)]
		h.ZeroCount = float64(r.Intn(5))
	}
	it := h.AllBucketIterator()
	for it.Next() {
		h.Count += it.At().Count
	}
	if r.Intn(6) == 0 {
		h.Sum = math.NaN()
		h.Count += float64(r.Intn(3))
	}
	return h
}

func notes(annos annotations.Annotations) []string {
	out := []string{}
	for _, err := range annos.AsErrors() {
		out = append(out, err.Error())
	}
	return out
}

type combined struct {
	Result     []any `json:"result"`
	Collision  bool  `json:"collision"`
	Reconciled bool  `json:"reconciled"`
}

func combine(res *histogram.FloatHistogram, collision, reconciled bool, err error) *combined {
	if err != nil {
		return nil
	}
	return &combined{parts(res.Compact(0)), collision, reconciled}
}

func marshal(h *histogram.FloatHistogram) json.RawMessage {
	stream := jsoniter.NewStream(jsoniter.ConfigDefault, nil, 512)
	jsonutil.MarshalHistogram(h, stream)
	return json.RawMessage(fmt.Sprintf("%q", stream.Buffer()))
}

func record(r *rand.Rand, h, before *histogram.FloatHistogram) map[string]any {
	out := map[string]any{"histogram": parts(h), "text": h.String(), "json": marshal(h)}
	quantiles, fractions, trims := []any{}, []any{}, []any{}
	for _, q := range []float64{0, 0.01, 0.25, 0.4999, 0.5, 0.9, 0.99, 1, r.Float64()} {
		v, annos := promql.HistogramQuantile(q, h, "", posrange.PositionRange{})
		quantiles = append(quantiles, []any{number(q), number(v), notes(annos)})
	}
	inf := math.Inf(1)
	for _, b := range [][2]float64{{-inf, 0}, {0, inf}, {-1, 1}, {0.1, 3}, {-inf, inf}, {-r.ExpFloat64() * 4, r.ExpFloat64() * 4}} {
		v, annos := promql.HistogramFraction(b[0], b[1], h, "", posrange.PositionRange{})
		fractions = append(fractions, []any{number(b[0]), number(b[1]), number(v), notes(annos)})
	}
	for _, limit := range []float64{0, 1, 0.2, -0.2, -inf, inf, r.NormFloat64() * 4, r.ExpFloat64() * 8} {
		below, above := h.Copy().TrimBuckets(limit, true), h.Copy().TrimBuckets(limit, false)
		trims = append(trims, []any{number(limit), parts(below), parts(above)})
	}
	out["quantiles"], out["fractions"], out["trims"] = quantiles, fractions, trims
	out["sum"] = combine(before.Copy().Add(h))
	out["difference"] = combine(before.Copy().Sub(h))
	return out
}

func main() {
	r := rand.New(rand.NewSource(7))
	before := random(r)
	entries := []map[string]any{}
	for range 120 {
		h := random(r)
		entries = append(entries, record(r, h, before))
		before = h
	}
	encoder := json.NewEncoder(os.Stdout)
	for i, entry := range entries {
		fmt.Print(map[bool]string{true: "[", false: ","}[i == 0])
		if err := encoder.Encode(entry); err != nil {
			panic(err)
		}
	}
	fmt.Println("]")
}
