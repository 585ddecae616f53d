import {
  chunkListRequestSchema,
  ContentCutter,
  maxChunks,
  Vm0Error,
  type Chunk,
  type ChunkListHead,
} from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { checkPath } from '../files.js'
import { arrivalOf } from './arrived.js'
import { firstLine, parseLine } from './first-line.js'

const maxRequestBytes = 4096
const maxHeadBytes = 4096

/** Size, mode and time of the file, the size of what has arrived; then, after a NUL, the file's content. */
const script = `
if test -f "$1"; then stat -L -c '%s %a %Y' -- "$1"; else echo -; fi
stat -c %s -- "$2" 2>/dev/null || echo 0
printf '\\0'
test -f "$1" || exit 0
exec cat -- "$1"`

/** The pieces of a file in the sandbox, as lines of JSON (see `file-patch.ts`). It is read there and cut here. */
export async function* listChunks(
  sandbox: Sandbox,
  path: string,
  request: AsyncIterable<Uint8Array>,
): AsyncGenerator<string> {
  checkPath(path)
  const { line } = await firstLine(request, maxRequestBytes)
  const { expected } = parseLine(line, chunkListRequestSchema, 'the pieces of a file')
  const arrival = expected === undefined ? '' : arrivalOf(path, expected)
  const cutter = new ContentCutter()
  const state = { head: undefined as ChunkListHead | undefined, early: Buffer.alloc(0), bytes: 0, chunks: 0 }
  for await (const chunk of sandbox.exec({ args: ['sh', '-c', script, 'sh', path, arrival], cwd: '/' })) {
    if ('exitCode' in chunk) {
      if (chunk.exitCode !== 0 || !state.head)
        throw new Vm0Error('EXEC_FAILED', `reading ${path} ended with status ${chunk.exitCode}`)
    } else if (chunk.stream === 'stdout') {
      let content = chunk.data
      if (!state.head) {
        state.early = Buffer.concat([state.early, content])
        const end = state.early.indexOf(0)
        if (end < 0 && state.early.length < maxHeadBytes) continue
        state.head = headOf(state.early.toString('utf8', 0, Math.max(0, end)), path)
        yield `${JSON.stringify(state.head)}\n`
        content = state.early.subarray(end + 1)
      }
      state.bytes += content.length
      if (state.bytes > (state.head.file?.sizeBytes ?? 0)) throw changed(path)
      const lines = linesOf(cutter.push(content), state)
      if (lines) yield lines
    }
  }
  if (state.bytes !== (state.head?.file?.sizeBytes ?? 0)) throw changed(path)
  yield `${linesOf(cutter.end(), state)}{"end":true}\n`
}

function linesOf(chunks: Iterable<Chunk>, counted: { chunks: number }): string {
  let lines = ''
  for (const { lengthBytes, digest } of chunks) {
    counted.chunks += 1
    lines += `${JSON.stringify([lengthBytes, digest])}\n`
  }
  if (counted.chunks > maxChunks) throw new Vm0Error('FILE_INVALID', `the file has more than ${maxChunks} pieces`)
  return lines
}

function headOf(text: string, path: string): ChunkListHead {
  const [facts = '', arrived = ''] = text.split('\n')
  const match = /^(\d{1,15}) ([0-7]{1,4}) (-?\d{1,12})$/.exec(facts)
  if (!match && facts !== '-') throw new Vm0Error('EXEC_FAILED', `what ${path} is could not be told`)
  const file = match && {
    sizeBytes: Number(match[1]),
    mode: Number.parseInt(match[2] as string, 8) & 0o777,
    modifiedMs: Number(match[3]) * 1000,
  }
  return { file, arrivedBytes: /^\d{1,15}$/.test(arrived) ? Number(arrived) : 0 }
}

const changed = (path: string): Vm0Error =>
  new Vm0Error('FILE_CHANGED', `${path} changed in the session while it was read`, {
    hint: 'Try again when nothing writes to it.',
  })
