import { open, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** `standard.json`: which image the machine has for which recipe. */
export interface TemplateIndex {
  recipeHash: string
  /** `sha256:…` of the image. */
  digest: string
  sizeBytes: number
  /** ISO 8601. */
  builtAt: string
}

export function imagePath(directory: string, digest: string): string {
  return join(directory, `${digest.slice('sha256:'.length)}.erofs`)
}

/** The index entry, if it belongs to the recipe and its image is there in full; undefined means that a build is due. */
export async function readIndex(directory: string, recipeHash: string): Promise<TemplateIndex | undefined> {
  const text = await readFile(join(directory, 'standard.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const index = parse(text)
  if (!index || index.recipeHash !== recipeHash) return undefined
  const image = await stat(imagePath(directory, index.digest)).catch(() => undefined)
  return image?.size === index.sizeBytes ? index : undefined
}

export async function writeIndex(directory: string, index: TemplateIndex, temporary: string): Promise<void> {
  const file = await open(temporary, 'w', 0o644)
  try {
    await file.writeFile(`${JSON.stringify(index, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(directory, 'standard.json'))
}

function parse(text: string): TemplateIndex | undefined {
  try {
    const value = JSON.parse(text) as Partial<TemplateIndex> | null
    return typeof value?.recipeHash === 'string' &&
      /^sha256:[0-9a-f]{64}$/.test(value.digest ?? '') &&
      typeof value.sizeBytes === 'number'
      ? (value as TemplateIndex)
      : undefined
  } catch {
    return undefined
  }
}
