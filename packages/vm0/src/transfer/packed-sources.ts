import { closeSync, openSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { ErrorCode } from '@vm0/contract/client'
import type { TarSource } from 'modern-tar/fs'
import { sliceMs, tarSource, type LocalEntry } from './local-tree.js'

/** Files up to this size are read at once: the promises of a system call cost several times the call. */
const smallBytes = 64 * 1024
/** Of one archive that are held in memory at a time. */
const heldBytes = 32 * 1024 ** 2

/** Entries as an archive takes them, small files with their contents, as far as those fit into memory. */
export async function packedSources(entries: readonly LocalEntry[], code: ErrorCode): Promise<TarSource[]> {
  const small = new Set<LocalEntry>()
  let held = 0
  for (const entry of entries) {
    const { info } = entry
    if (!info.isFile() || info.size > smallBytes || held + info.size > heldBytes) continue
    held += info.size
    small.add(entry)
  }
  const memory = Buffer.allocUnsafe(held)
  const sources: TarSource[] = []
  let [at, sliceEndsMs] = [0, performance.now() + sliceMs]
  for (const entry of entries) {
    const source = tarSource(entry, code)
    if (small.has(entry)) {
      const { mode, mtime, size } = entry.info
      const content = readInto(memory.subarray(at, at + size), entry.path)
      at += size
      sources.push({ type: 'content', content, target: source.target, mode: mode & 0o777, mtime })
    } else sources.push(source)
    if (performance.now() < sliceEndsMs) continue
    await setImmediate()
    sliceEndsMs = performance.now() + sliceMs
  }
  return sources
}

/** As much of a file as there is room for, or less where it has become shorter. */
function readInto(room: Buffer, path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    let at = 0
    while (at < room.length) {
      const bytes = readSync(file, room, at, room.length - at, null)
      if (bytes === 0) break
      at += bytes
    }
    return room.subarray(0, at)
  } finally {
    closeSync(file)
  }
}
