import type { ExecChunk } from '@vm0/sandbox'

export interface CapturedOutput {
  exitCode: number
  stdout: string
  stderr: string
}

/** Reads a short command to its end; of each stream at most `maxBytes` are kept. */
export async function readAll(chunks: AsyncIterable<ExecChunk>, maxBytes: number): Promise<CapturedOutput> {
  const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
  const sizes = { stdout: 0, stderr: 0 }
  let exitCode = -1
  for await (const chunk of chunks) {
    if ('exitCode' in chunk) {
      exitCode = chunk.exitCode
      continue
    }
    const room = maxBytes - sizes[chunk.stream]
    if (room <= 0) continue
    kept[chunk.stream].push(chunk.data.subarray(0, room))
    sizes[chunk.stream] += Math.min(room, chunk.data.length)
  }
  return {
    exitCode,
    stdout: Buffer.concat(kept.stdout).toString('utf8'),
    stderr: Buffer.concat(kept.stderr).toString('utf8'),
  }
}
