import { fileRangesSchema, maxPatchLineBytes, Vm0Error } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { openOutput } from '../command-output.js'
import { checkPath, missing } from '../files.js'
import { firstLine, parseLine } from './first-line.js'

const script = `
test -f "$1" || exit 44
while read -r at bytes; do
  dd if="$1" bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$at" count="$bytes" status=none || exit 1
done`

/** Parts of a file in the sandbox, one after the other; never more bytes than were asked for. */
export async function readRanges(
  sandbox: Sandbox,
  path: string,
  request: AsyncIterable<Uint8Array>,
  release: () => void,
): Promise<AsyncIterable<Uint8Array>> {
  checkPath(path)
  const { line } = await firstLine(request, maxPatchLineBytes)
  const { ranges } = parseLine(line, fileRangesSchema, 'parts of a file')
  const output = await openOutput(
    sandbox,
    {
      args: ['sh', '-c', script, 'sh', path],
      cwd: '/',
      stdin: Buffer.from(ranges.map(([at, lengthBytes]) => `${at} ${lengthBytes}\n`).join('')),
    },
    ({ exitCode, stderr }) => {
      if (exitCode === 44) throw missing(path, exitCode)
      if (exitCode !== 0)
        throw new Vm0Error('EXEC_FAILED', `reading parts of ${path} failed: ${stderr.trim() || `status ${exitCode}`}`)
    },
    release,
  )
  return atMost(
    output,
    ranges.reduce((sum, [, lengthBytes]) => sum + lengthBytes, 0),
  )
}

async function* atMost(source: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes
  for await (const chunk of source) {
    yield chunk.subarray(0, left)
    left -= chunk.length
    if (left <= 0) return
  }
}
