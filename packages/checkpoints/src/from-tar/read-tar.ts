import { writeSync } from 'node:fs'
import { Vm0Error } from '@vm0/contract'
import { createTarDecoder, type ParsedTarEntry, type TarHeader } from 'modern-tar'
import { encodeXattrs, fileTypes } from '../erofs/format.js'
import { opaqueName, pathOf, whiteoutPrefix } from '../tar/names.js'
import { sparseOf } from '../tar/sparse.js'
import { timeOf } from '../tar/times.js'
import { xattrsOf } from '../tar/xattrs.js'
import type { Budget } from './budget.js'
import { LayerTree, type FileNode } from './tree.js'

/** Ids that a sandbox has. */
const maxId = 65_535
/** What an entry takes besides its data, about. */
const entryBytes = 256

/** Reads an OCI layer: what it holds as a tree, the data of its files one after the other into a spool. */
export async function readTar(tar: ReadableStream<Uint8Array>, spool: number, budget: Budget): Promise<LayerTree> {
  const tree = new LayerTree()
  let spoolAt = 0
  for await (const entry of tar.pipeThrough(createTarDecoder({ strict: true }))) {
    budget.entry(entryBytes + entry.header.name.length)
    const start = spoolAt
    for await (const bytes of entry.body as unknown as AsyncIterable<Uint8Array>) {
      for (let done = 0; done < bytes.length;)
        done += writeSync(spool, bytes, done, bytes.length - done, spoolAt + done)
      spoolAt += bytes.length
    }
    if (spoolAt - start !== entry.header.size) throw new Vm0Error('ARCHIVE_CORRUPT', `${entry.header.name} is cut off`)
    take(tree, entry, start, budget)
  }
  return tree
}

function take(tree: LayerTree, { header }: Pick<ParsedTarEntry, 'header'>, spoolAt: number, budget: Budget): void {
  const { pax, type = 'file', size } = header
  const mark = markOf(header)
  if (mark?.kind === 'opaque') return tree.opaque(mark.path)
  if (mark) return tree.add(mark.path, { kind: 'whiteout' })
  const path = pathOf(header.name, pax?.['VM0.path'])
  if (type === 'directory') return tree.directory(path, attributesOf(header, fileTypes.directory))
  if (type === 'link') {
    const file = tree.file(pathOf(header.linkname ?? '', pax?.['VM0.target']))
    file.links += 1
    return tree.add(path, file)
  }
  if (type === 'symlink') {
    const target = Buffer.from(pax?.['VM0.target'] ?? header.linkname ?? '', pax?.['VM0.target'] ? 'base64' : 'utf8')
    if (target.length === 0 || target.length > 4095 || target.includes(0))
      throw new Vm0Error('ARCHIVE_INVALID', `the symbolic link ${JSON.stringify(header.name)} has no plain target`)
    return tree.add(path, { ...fileNode('symlink', header), target, size: target.length, spoolAt })
  }
  if (type === 'fifo') return tree.add(path, { ...fileNode('fifo', header), size: 0, spoolAt })
  if (type !== 'file')
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `the entry ${JSON.stringify(header.name)} is a ${type}; expected files, folders, links and FIFOs only`,
    )
  const holes = sparseOf(pax, size)
  if (holes) budget.sparse(holes.size)
  tree.add(path, { ...fileNode('file', header), size, spoolAt, ...holes })
}

function fileNode(kind: FileNode['kind'], header: TarHeader): Pick<FileNode, 'kind' | 'attributes' | 'links'> {
  const type = { file: fileTypes.regular, symlink: fileTypes.symlink, fifo: fileTypes.fifo }[kind]
  return { kind, attributes: attributesOf(header, type), links: 1 }
}

/** What an entry hides of the layers below: another one's name, or all that is in its folder. */
function markOf({ name, pax, type = 'file' }: TarHeader): { kind: 'whiteout' | 'opaque'; path: string } | undefined {
  if (type !== 'file') return undefined
  const exact = pax?.['VM0.path']
  if (exact !== undefined) {
    const kind = pax?.['VM0.mark']
    return kind === 'whiteout' || kind === 'opaque' ? { kind, path: pathOf(name, exact) } : undefined
  }
  const path = pathOf(name)
  const slash = path.lastIndexOf('/') + 1
  const [folder, last] = [path.slice(0, slash), path.slice(slash)]
  if (last === opaqueName) return { kind: 'opaque', path: folder.slice(0, -1) }
  if (!last.startsWith(whiteoutPrefix)) return undefined
  const hidden = last.slice(whiteoutPrefix.length)
  if (hidden.startsWith(whiteoutPrefix))
    throw new Vm0Error('ARCHIVE_INVALID', `the mark ${JSON.stringify(name)} is unknown; expected ${opaqueName}`)
  // What is left of it has to be a name of its own: `.wh...` would hide `..`.
  return {
    kind: 'whiteout',
    path: pathOf(
      Buffer.from(folder + hidden, 'latin1').toString('utf8'),
      Buffer.from(folder + hidden, 'latin1').toString('base64'),
    ),
  }
}

function attributesOf(header: TarHeader, type: number): FileNode['attributes'] {
  const { uid = 0, gid = 0, mode = 0, mtime, pax, name } = header
  if (!(uid >= 0 && uid <= maxId && gid >= 0 && gid <= maxId))
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `${JSON.stringify(name)} belongs to ${uid}:${gid}; expected ids from 0 to ${maxId}`,
    )
  return {
    mode: type | (mode & 0o7777),
    uid,
    gid,
    ...timeOf(pax?.mtime ?? String(Math.floor((mtime?.getTime() ?? 0) / 1000))),
    xattrs: encodeXattrs(xattrsOf(pax)),
  }
}
