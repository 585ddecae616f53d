import { createTarPacker, type TarHeader } from 'modern-tar'
import type { ErofsReader } from '../erofs/reader.js'
import { opaqueName, tarPath, whiteoutPrefix } from '../tar/names.js'
import { fewExtents, paxSparse, type Extent } from '../tar/sparse.js'
import { paxTime } from '../tar/times.js'
import { paxXattrs } from '../tar/xattrs.js'
import { layerEntries, type LayerEntry } from './entries.js'

type Packer = ReturnType<typeof createTarPacker>
/** Seconds that the field of a tar header has room for. */
const maxSeconds = 0o77777777777
const pieceBytes = 1024 ** 2

/** An erofs layer as the tar of an OCI layer: the same again for the same layer. */
export function layerTar(layer: ErofsReader): Packer['readable'] {
  const { readable, controller } = createTarPacker()
  const write = async (): Promise<void> => {
    for (const entry of layerEntries(layer)) {
      const { header, extents } = describe(layer, entry)
      const body = controller.add(header).getWriter()
      for (const { start, end } of extents) {
        for (let at = start; at < end; at += pieceBytes) {
          const piece = Buffer.alloc(Math.min(pieceBytes, end - at))
          layer.read(entry.inode, piece, 0, piece.length, at)
          await body.write(new Uint8Array(piece.buffer, piece.byteOffset, piece.length))
        }
      }
      await body.close()
    }
    controller.finalize()
  }
  // Where the reader has left there is nobody to tell.
  write().catch((error: unknown) => controller.error(error))
  return readable
}

function describe(layer: ErofsReader, entry: LayerEntry): { header: TarHeader; extents: readonly Extent[] } {
  const { kind, path, inode } = entry
  if (kind === 'whiteout' || kind === 'opaque') return { header: mark(path, kind), extents: [] }
  const { name, exact } = tarPath(path)
  const pax: Record<string, string> = { ...paxXattrs(layer.xattrs(inode)), ...(exact ? { 'VM0.path': exact } : {}) }
  const header: TarHeader & { pax: typeof pax } = {
    name: path === '' ? './' : kind === 'directory' ? `${name}/` : name,
    type: kind,
    size: 0,
    mode: inode.mode & 0o7777,
    uid: inode.uid,
    gid: inode.gid,
    mtime: new Date(Math.min(Math.max(0, inode.mtimeSeconds), maxSeconds) * 1000),
    pax,
  }
  if (inode.mtimeNanoseconds !== 0 || inode.mtimeSeconds < 0 || inode.mtimeSeconds > maxSeconds)
    pax.mtime = paxTime(inode.mtimeSeconds, inode.mtimeNanoseconds)
  if (kind === 'link' || kind === 'symlink') {
    const target = entry.target ?? symlinkTarget(layer, entry)
    // What a symbolic link says is any text: no name in it is a mark.
    const shown = kind === 'link' ? tarPath(target) : textOf(target)
    header.linkname = shown.name
    if (shown.exact) pax['VM0.target'] = shown.exact
  }
  if (kind !== 'file') return { header, extents: [] }
  const holes = layer.extents(inode)
  const extents = holes ? fewExtents(holes) : [{ start: 0, end: inode.size }]
  if (holes) Object.assign(pax, paxSparse(name, inode.size, extents))
  header.size = extents.reduce((sum, { start, end }) => sum + end - start, 0)
  return { header, extents }
}

/** Names what is hidden of the layers below. */
function mark(path: string, kind: 'whiteout' | 'opaque'): TarHeader {
  const { name, exact } = tarPath(path)
  const slash = name.lastIndexOf('/') + 1
  const marked =
    kind === 'opaque'
      ? `${name === '' ? '' : `${name}/`}${opaqueName}`
      : `${name.slice(0, slash)}${whiteoutPrefix}${name.slice(slash)}`
  const pax = exact ? { pax: { 'VM0.path': exact, 'VM0.mark': kind } } : {}
  return { name: marked, type: 'file', size: 0, mode: 0, uid: 0, gid: 0, mtime: new Date(0), ...pax }
}

function symlinkTarget(layer: ErofsReader, { inode }: LayerEntry): string {
  const target = Buffer.alloc(inode.size)
  layer.read(inode, target, 0, inode.size, 0)
  return target.toString('latin1')
}

function textOf(latin1: string): { name: string; exact?: string } {
  const bytes = Buffer.from(latin1, 'latin1')
  const name = new TextDecoder().decode(bytes)
  return Buffer.from(name, 'utf8').equals(bytes) ? { name } : { name, exact: bytes.toString('base64') }
}
