import type { ExecOptions, Sandbox } from '@vm0/sandbox'

const maxStderrBytes = 65_536

export interface CommandEnd {
  exitCode: number
  stderr: string
}

/**
 * Starts a command and gives what it writes to stdout. It has begun to write, or has ended, when this resolves: what
 * `check` throws for its end then comes before the first byte, and otherwise breaks the stream. The command is ended and
 * `release` is called once, whether the stream is read to its end, left half-way, or never read.
 */
export async function openOutput(
  sandbox: Sandbox,
  options: ExecOptions,
  check: (end: CommandEnd) => void,
  release: () => void,
): Promise<AsyncIterableIterator<Uint8Array>> {
  const chunks = sandbox.exec(options)[Symbol.asyncIterator]()
  let stderr = ''
  let released = false
  const finish = async (): Promise<void> => {
    if (released) return
    released = true
    try {
      await chunks.return?.()
    } finally {
      release()
    }
  }
  const read = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    try {
      for (;;) {
        const { value, done } = await chunks.next()
        if (done) break
        if ('exitCode' in value) check({ exitCode: value.exitCode, stderr })
        else if (value.stream === 'stdout') return { done: false, value: value.data }
        else if (stderr.length < maxStderrBytes) stderr += Buffer.from(value.data).toString('utf8')
      }
    } catch (error) {
      await finish()
      throw error
    }
    await finish()
    return { done: true, value: undefined }
  }
  let first: IteratorResult<Uint8Array, undefined> | undefined = await read()
  const output: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => output,
    next() {
      const result = first ? Promise.resolve(first) : read()
      first = undefined
      return result
    },
    async return() {
      await finish()
      return { done: true, value: undefined }
    },
  }
  return output
}
