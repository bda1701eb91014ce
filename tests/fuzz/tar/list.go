// Reads archives from standard input, each behind its length (4 bytes, big-endian), and prints what Go's archive/tar
// says of each: a line for every entry, then "end" or "error" and an empty line.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const readable = 1 << 20 // contents of larger entries are skipped

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		var length uint32
		if binary.Read(in, binary.BigEndian, &length) != nil {
			return
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(in, data); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n\n", list(out, tar.NewReader(bytes.NewReader(data))))
		out.Flush()
	}
}

func list(out io.Writer, archive *tar.Reader) string {
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return "end"
		}
		if err != nil {
			return "error " + err.Error()
		}
		size, link := header.Size, ""
		switch header.Typeflag {
		case tar.TypeLink, tar.TypeSymlink:
			size, link = 0, header.Linkname
		case tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
			size = 0
		}
		sum := crc32.NewIEEE()
		if size <= readable {
			if _, err := io.Copy(sum, archive); err != nil {
				return "error " + err.Error()
			}
		}
		fmt.Fprintf(out, "%02x %x %x %d %08x\n", header.Typeflag, header.Name, link, size, sum.Sum32())
	}
}
