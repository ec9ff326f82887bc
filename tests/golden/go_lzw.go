//go:build ignore

// Records how Go's compress/lzw packs data at lengths where codes widen and where the table is cleared, as the golden file
// of tests/unit/kv/memberlist/test_recorded_bytes.py:
//
//	go run tests/golden/go_lzw.go > tests/golden/go_lzw.json
package main

import (
	"bytes"
	"compress/lzw"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
)

func main() {
	chance := rand.New(rand.NewSource(1))
	var cases []map[string]string
	for _, letters := range []int{1, 2, 256} {
		for _, size := range []int{0, 1, 2, 255, 256, 257, 600, 3838, 3839, 3840, 9000} {
			raw := make([]byte, size)
			for i := range raw {
				raw[i] = byte(chance.Intn(letters))
			}
			var packed bytes.Buffer
			writer := lzw.NewWriter(&packed, lzw.LSB, 8)
			writer.Write(raw)
			writer.Close()
			cases = append(cases, map[string]string{
				"name": fmt.Sprintf("%d of %d", size, letters), "raw": hex.EncodeToString(raw),
				"packed": hex.EncodeToString(packed.Bytes()),
			})
		}
	}
	json.NewEncoder(os.Stdout).Encode(cases)
}
