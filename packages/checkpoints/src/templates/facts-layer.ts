import { canonicalJson, type TemplateFacts } from '@vm0/contract'
import { layerOfFiles } from '../layers/layer-of-files.js'

/** What a template says of itself, inside: two that differ in it have different digests. */
const factsPath = 'usr/share/vm0/template.json'
const owner = { uid: 0, gid: 0, mtime: new Date(0) }
const folderHeader = { mode: 0o755, ...owner }

/** Makes a layer with the facts, and with further folders (`name/`); returns its image. */
export async function factsLayer(
  folder: string,
  facts: TemplateFacts,
  folders: readonly string[] = [],
): Promise<string> {
  const body = Buffer.from(`${canonicalJson(facts)}\n`)
  const { image } = await layerOfFiles(
    folder,
    'facts',
    [{ path: factsPath, body, mode: 0o644, ...owner, folders: [folderHeader, folderHeader, folderHeader] }],
    folders.map((path) => ({ path, ...folderHeader })),
  )
  return image
}
