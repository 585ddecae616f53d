import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packTar } from 'modern-tar'
import { layerFromTar } from '../from-tar/index.js'
import type { LayerReference } from '../store.js'

interface Header {
  mode: number
  uid: number
  gid: number
  mtime: Date
}

export interface LayerFile extends Header {
  /** From the root, without a slash in front. */
  path: string
  body: Buffer
  /** Of the folders that lead to it, the outermost first. */
  folders: readonly Header[]
}

/** Makes a layer of a few files and folders of our own (`name/`), in `folder`, under a name. */
export async function layerOfFiles(
  folder: string,
  name: string,
  files: readonly LayerFile[],
  folders: readonly (Header & { path: string })[] = [],
): Promise<{ image: string; reference: LayerReference }> {
  const leading = new Map<string, Header>()
  for (const file of files) {
    const parts = file.path.split('/').slice(0, -1)
    for (const [depth, header] of file.folders.entries()) leading.set(`${parts.slice(0, depth + 1).join('/')}/`, header)
  }
  for (const { path, ...header } of folders) leading.set(path, header)
  const tar = await packTar([
    ...[...leading].map(([path, header]) => ({
      header: { ...header, name: path, type: 'directory' as const, size: 0 },
    })),
    ...files.map(({ path, body, mode, uid, gid, mtime }) => ({
      header: { name: path, type: 'file' as const, size: body.length, mode, uid, gid, mtime },
      body,
    })),
  ])
  const blob = join(folder, `${name}.tar`)
  await writeFile(blob, tar)
  const image = join(folder, `${name}.erofs`)
  const { reference } = await layerFromTar({
    blob,
    compression: 'none',
    diffId: `sha256:${createHash('sha256').update(tar).digest('hex')}`,
    image,
    spool: join(folder, `${name}.spool`),
    limits: { maxArchiveBytes: tar.length, maxUnpackedBytes: 2 * tar.length + 16 * 1024 ** 2, maxEntries: 64 },
    spent: { bytes: 0, entries: 0 },
  })
  return { image, reference }
}
