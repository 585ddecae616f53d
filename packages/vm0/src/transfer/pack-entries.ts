import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import { Vm0Error, type ErrorCode } from '@vm0/contract/client'
import { sliceMs, type LocalEntry } from './local-tree.js'
import { blockBytes, paddingOf, tarHeader } from './tar-header.js'

/** Archives go in pieces of this size: small ones cost a turn of the loop on each side. */
const slabBytes = 1024 ** 2
/** Files up to this size are read at once: the promises of a system call cost several times the call. */
const smallBytes = 256 * 1024

/**
 * Local files as a tar, made as it is read: folders, files and links with mode and time, owned by root. Throws `code` for what no
 * archive of ours may hold, and for a file that becomes shorter while it is read.
 */
export async function* packEntries(entries: Iterable<LocalEntry>, code: ErrorCode): AsyncGenerator<Uint8Array> {
  let slab = Buffer.allocUnsafe(slabBytes)
  let filled = 0
  let sliceEndsMs = performance.now() + sliceMs
  const take = (): Buffer => {
    const full = slab.subarray(0, filled)
    slab = Buffer.allocUnsafe(slabBytes)
    filled = 0
    return full
  }
  const put = (bytes: Uint8Array): void => {
    slab.set(bytes, filled)
    filled += bytes.length
  }
  for (const entry of entries) {
    const { info, path } = entry
    const kind = kindOf(entry, code)
    const sizeBytes = kind === 'file' ? info.size : 0
    const isSmall = sizeBytes <= smallBytes
    const head = tarHeader({ ...described(entry, kind), sizeBytes })
    if (slabBytes - filled < head.length + (isSmall ? sizeBytes + blockBytes : 0)) yield take()
    put(head)
    if (kind === 'file' && isSmall) {
      if (entry.content?.length === sizeBytes) slab.set(entry.content, filled)
      else if (sizeBytes > 0) readWhole(path, slab.subarray(filled, filled + sizeBytes), code)
      filled += sizeBytes
    } else if (kind === 'file') {
      yield take()
      yield* piecesOf(path, sizeBytes, code)
    }
    slab.fill(0, filled, (filled += paddingOf(sizeBytes)))
    if (performance.now() < sliceEndsMs) continue
    await setImmediate()
    sliceEndsMs = performance.now() + sliceMs
  }
  if (slabBytes - filled < 2 * blockBytes) yield take()
  slab.fill(0, filled, (filled += 2 * blockBytes))
  yield take()
}

type Kind = 'folder' | 'file' | 'link'

function kindOf({ name, info }: LocalEntry, code: ErrorCode): Kind {
  if (name.includes('\\'))
    throw new Vm0Error(code, `${JSON.stringify(name)} has a backslash in its name, which archives can't carry safely`, {
      hint: 'Rename it.',
    })
  if (info.kind !== 'other') return info.kind
  throw new Vm0Error(code, `${name} is a socket, pipe or device; expected files, folders and links`, {
    hint: 'Remove it, or choose another folder.',
  })
}

const described = ({ name, path, info }: LocalEntry, kind: Kind) => ({
  name,
  kind,
  mode: kind === 'link' ? 0o777 : info.mode & 0o777,
  modifiedMs: info.mtimeMs,
  target: kind === 'link' ? readlinkSync(path) : '',
})

function readWhole(path: string, room: Buffer, code: ErrorCode): void {
  const file = openSync(path, 'r')
  try {
    for (let at = 0; at < room.length;) {
      const bytes = readSync(file, room, at, room.length - at, null)
      if (bytes === 0) throw shorter(path, code)
      at += bytes
    }
  } finally {
    closeSync(file)
  }
}

async function* piecesOf(path: string, sizeBytes: number, code: ErrorCode): AsyncGenerator<Buffer> {
  const file = await open(path, 'r')
  try {
    for (let left = sizeBytes; left > 0;) {
      const piece = Buffer.allocUnsafe(Math.min(slabBytes, left))
      const { bytesRead } = await file.read(piece, 0, piece.length, null)
      if (bytesRead === 0) throw shorter(path, code)
      left -= bytesRead
      yield piece.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

const shorter = (path: string, code: ErrorCode): Vm0Error =>
  new Vm0Error(code, `${path} became shorter while it was read; expected one that holds still`, {
    hint: 'Try again when nothing writes to it.',
  })
