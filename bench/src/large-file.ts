import { open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { randomFillSync } from 'node:crypto'
import { join } from 'node:path'
import type { Session } from 'vm0'
import type { CountingProxy } from './counting-proxy.js'
import { peakMemoryMiB, resetPeakMemory } from './workbench.js'

interface Places {
  directory: string
  /** Its calls go through the proxy. */
  session: Session
  proxy: CountingProxy
}

async function measured<T>(proxy: CountingProxy, work: () => Promise<T>) {
  const before = proxy.bytes
  const startedMs = performance.now()
  await work()
  return { ms: performance.now() - startedMs, wireMb: (proxy.bytes - before) / 1e6 }
}

/** A file of random bytes: nothing of it is alike. */
async function makeFile(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w')
  const piece = Buffer.alloc(16 * 1024 ** 2)
  for (let at = 0; at < bytes; at += piece.length) await file.writeFile(randomFillSync(piece))
  await file.close()
}

/** One byte changed in the middle, and one put in at the front, as an editor does it: the whole file is written anew. */
async function editFile(path: string): Promise<void> {
  const bytes = await readFile(path)
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
  await writeFile(path, '!')
  await writeFile(path, bytes, { flag: 'a' })
}

/** A big file of which little is changed, both ways. */
export async function benchEdits({ directory, session, proxy }: Places, bytes: number): Promise<void> {
  const path = join(directory, 'edited')
  const remote = '/workspace/edited'
  await makeFile(path, bytes)
  const first = await measured(proxy, () => session.files.upload(path, remote))
  await editFile(path)
  const push = await measured(proxy, () => session.files.upload(path, remote))
  await session.exec(`{ printf '?'; cat edited; } >other && mv other edited`)
  const pull = await measured(proxy, () => session.files.download(remote, path))
  const words = ({ ms, wireMb }: typeof push): string => `${ms.toFixed(0)} ms, ${wireMb.toFixed(1)} MB on the wire`
  console.log(
    `\nOne file of ${(bytes / 1e6).toFixed(0)} MB: sent first ${words(first)}; one byte changed in the middle and one put in at the front, sent ${words(push)}; one put in at the front in the session, fetched ${words(pull)}.`,
  )
  await rm(path)
}

/** A file that is larger than what memory should be used for it. */
export async function benchHugeFile({ directory, session }: Omit<Places, 'proxy'>, bytes: number): Promise<void> {
  const path = join(directory, 'large')
  await writeFile(path, '')
  await truncate(path, bytes)
  await resetPeakMemory()
  const startedMs = performance.now()
  await session.files.upload(path, '/workspace/large')
  console.log(
    `One file of ${(bytes / 1e6).toFixed(0)} MB: ${(performance.now() - startedMs).toFixed(0)} ms; the client's memory went up to ${(await peakMemoryMiB()).toFixed(0)} MiB.`,
  )
}
