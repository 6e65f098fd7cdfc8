// SPDX-License-Identifier: Apache-2.0
// A Vite plugin: beside each built text lie its gzip and brotli forms, so that the server compresses nothing.

import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { brotliCompressSync, constants, gzipSync } from "node:zlib"

const BYTES_MIN = 600

export function packed() {
  let folder = ""
  return {
    name: "packed",
    configResolved: (config) => { folder = join(config.root, config.build.outDir) },
    async closeBundle() {
      for (const name of await readdir(folder)) {
        if (!/\.(js|css)$/.test(name)) continue
        const plain = await readFile(join(folder, name))
        if (plain.length < BYTES_MIN) continue
        await writeFile(join(folder, `${name}.gz`), gzipSync(plain, { level: 9 }))
        const params = { [constants.BROTLI_PARAM_QUALITY]: 11 }
        await writeFile(join(folder, `${name}.br`), brotliCompressSync(plain, { params }))
      }
    },
  }
}
