// Writes docs/errors.md from the table in packages/contract; `--check` fails when the file is not up to date.
import { readFileSync, writeFileSync } from 'node:fs'
import { errorTable } from '../packages/contract/dist/index.js'

const rows = Object.entries(errorTable).map(
  ([code, { status, exit, retryable, hint }]) =>
    `| \`${code}\` | ${status} | ${exit} | ${retryable ? 'yes' : 'no'} | ${hint} |`,
)
const text = `# Errors

Every error has a stable code. HTTP answers are problem documents (RFC 9457) with \`code\`, \`hint\`, \`retryable\` and
\`requestId\`; the SDK throws \`Vm0Error\`; the command prints code, what happened and what to do. This page is made from the code:
\`node scripts/make-errors-doc.mjs\`.

| code | HTTP | exit status | retry may help | what to do |
|---|---|---|---|---|
${rows.join('\n')}
`
if (process.argv[2] === '--check') {
  if (readFileSync('docs/errors.md', 'utf8') !== text) {
    console.error('docs/errors.md is not up to date: run node scripts/make-errors-doc.mjs')
    process.exit(1)
  }
} else writeFileSync('docs/errors.md', text)
