// SPDX-License-Identifier: Apache-2.0
// Writes src/core/api.gen.ts: the shapes of docs/openapi.json as TypeScript. `node types.mjs` after `make openapi`.

import { readFile, writeFile } from "node:fs/promises"
import { pathToFileURL } from "node:url"
import openapiTS, { astToString } from "openapi-typescript"

const DOCUMENT = new URL("../../docs/openapi.json", import.meta.url)
export const GENERATED = new URL("./src/core/api.gen.ts", import.meta.url)

/** Only the shapes: the calls are written by hand in client.ts. */
export async function generate() {
  const document = JSON.parse(await readFile(DOCUMENT, "utf8"))
  const ast = await openapiTS(
    { ...document, paths: {} },
    { defaultNonNullable: false, emptyObjectsUnknown: true, exportType: true, silent: true },
  )
  return [
    "// SPDX-License-Identifier: Apache-2.0",
    "// Made from docs/openapi.json by `npm run types`; a test fails where the two differ.",
    "",
    astToString(ast),
  ].join("\n")
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(GENERATED, await generate())
}
