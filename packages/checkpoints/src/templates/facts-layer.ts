import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson, type TemplateFacts } from '@vm0/contract'
import { packTar } from 'modern-tar'
import { layerFromTar } from '../from-tar/index.js'

/** What a template says of itself, inside: two that differ in it have different digests. */
const factsPath = 'usr/share/vm0/template.json'

/** Makes a layer with the facts, and with further folders (`name/`); returns its image. */
export async function factsLayer(
  folder: string,
  facts: TemplateFacts,
  folders: readonly string[] = [],
): Promise<string> {
  const owner = { uid: 0, gid: 0, mtime: new Date(0) }
  const directories = ['usr/', 'usr/share/', 'usr/share/vm0/', ...folders].map((name) => ({
    header: { name, type: 'directory' as const, size: 0, mode: 0o755, ...owner },
  }))
  const body = Buffer.from(`${canonicalJson(facts)}\n`)
  const tar = await packTar([
    ...directories,
    { header: { name: factsPath, type: 'file' as const, size: body.length, mode: 0o644, ...owner }, body },
  ])
  const blob = join(folder, 'facts.tar')
  await writeFile(blob, tar)
  const image = join(folder, 'facts.erofs')
  await layerFromTar({
    blob,
    compression: 'none',
    diffId: `sha256:${createHash('sha256').update(tar).digest('hex')}`,
    image,
    spool: join(folder, 'facts.spool'),
    limits: { maxArchiveBytes: tar.length, maxUnpackedBytes: 16 * 1024 ** 2, maxEntries: 16 },
    spent: { bytes: 0, entries: 0 },
  })
  return image
}
