import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error, type BuildTemplate } from '@vm0/contract/client'

export const recipeName = 'vm0.template.json'
const maxRecipeBytes = 4 * 1024 ** 2
const fields = ['from', 'packages', 'commands', 'env', 'resources'] as const

export type Recipe = Pick<BuildTemplate, (typeof fields)[number]>

/** What a folder's `vm0.template.json` says; undefined where there is none. What the fields hold is the server's to check. */
export async function readRecipe(folder: string): Promise<Recipe | undefined> {
  const file = join(folder, recipeName)
  const size = await stat(file).then(
    (found) => found.size,
    () => undefined,
  )
  if (size === undefined) return undefined
  if (size > maxRecipeBytes) throw invalid(`${file} has ${size} bytes; expected at most ${maxRecipeBytes}`)
  return parseRecipe(await readFile(file, 'utf8'), file)
}

export function parseRecipe(text: string, file: string): Recipe {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid(`${file} is no JSON: ${(cause as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${file} is no JSON object`)
  const other = Object.keys(value).find((key) => !(fields as readonly string[]).includes(key))
  if (other !== undefined)
    throw invalid(`${file} has the field ${JSON.stringify(other)}; expected ${fields.join(', ')}`)
  return value as Recipe
}

/** What flags say counts more; packages and commands come on top of the file's. */
export function withFlags(recipe: Recipe, flags: Recipe): Recipe {
  const all = <T>(a: readonly T[] | undefined, b: readonly T[] | undefined): T[] => [...(a ?? []), ...(b ?? [])]
  return {
    ...recipe,
    ...(flags.from === undefined ? {} : { from: flags.from }),
    packages: all(recipe.packages, flags.packages),
    commands: all(recipe.commands, flags.commands),
    env: { ...recipe.env, ...flags.env },
    resources: { ...recipe.resources, ...flags.resources },
  }
}

/** `NAME=VALUE` of `--env`. */
export function parsePair(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  if (at < 1) throw invalid(`--env ${text}: expected NAME=VALUE`)
  return [text.slice(0, at), text.slice(at + 1)]
}

const invalid = (message: string): Vm0Error =>
  new Vm0Error('INVALID_REQUEST', message, { hint: 'docs/templates.md shows what the file holds.' })
