import { buildCommand, buildRouteMap, numberParser, type CommandContext } from '@stricli/core'
import { Vm0Error, type TemplateVersionView, type TemplateView } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import type { TemplateCallOptions, TemplateRecipe } from '../../templates.js'
import { findSession } from '../find-id.js'
import { byteCount, count, shortId, table } from '../format.js'
import { jsonLine } from '../printable.js'
import { builtLines, showBuild } from '../templates/build-view.js'
import { readDockerfile } from '../templates/dockerfile.js'
import { openImage } from '../templates/image-file.js'
import { parsePair, readRecipe, recipeName, withFlags } from '../templates/recipe-file.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
}

const many = (brief: string, placeholder: string) =>
  ({ kind: 'parsed', parse: String, variadic: true, optional: true, brief, placeholder }) as const
const promoteFlag = {
  kind: 'boolean',
  default: false,
  withNegated: false,
  brief: 'The name means this version from now on',
} as const
const env = many('Variable for agents and commands; may be repeated', 'NAME=VALUE')
const memory = {
  kind: 'parsed',
  parse: numberParser,
  optional: true,
  brief: 'Memory of its sessions',
  placeholder: 'MiB',
} as const

interface GivenFlags extends Flags {
  env?: string[]
  memory?: number
  promote: boolean
}

const list = buildCommand({
  docs: { brief: 'List templates', fullDescription: help(['vm0 templates', 'vm0 templates ls --json']) },
  parameters: { flags: { json } },
  async func(this: CommandContext, flags: Flags) {
    const { standard, items } = await createClient().templates.list()
    if (flags.json)
      for (const item of [{ name: 'standard', digest: standard }, ...items]) process.stdout.write(jsonLine(item))
    else
      process.stdout.write(
        table([
          ['TEMPLATE', 'MEANS', 'VERSIONS', 'DIGEST', 'SESSIONS'],
          ['standard', 'built in', '-', shortId(standard), '-'],
          ...items.map(({ name, promoted, versions }) => [
            name,
            promoted === null ? '-' : `${name}@${promoted}`,
            versions.map(({ version }) => version).join(' '),
            shortId(versions.find((each) => each.promoted)?.digest ?? '-'),
            String(versions.reduce((sum, { sessions }) => sum + sessions, 0)),
          ]),
        ]),
      )
  },
})

const nameArgument = {
  kind: 'tuple',
  parameters: [{ brief: 'Template', parse: String, placeholder: 'NAME' }],
} as const
const versionArgument = {
  kind: 'tuple',
  parameters: [{ brief: 'Template, and perhaps its version', parse: String, placeholder: 'NAME[@N]' }],
} as const

const show = buildCommand({
  docs: {
    brief: 'Show the versions of a template',
    fullDescription: help(['vm0 templates show web', 'vm0 templates show web --json']),
  },
  parameters: { flags: { json }, positional: nameArgument },
  async func(this: CommandContext, flags: Flags, name: string) {
    const view = await createClient().templates.get(name)
    process.stdout.write(flags.json ? jsonLine(view) : versionTable(view))
  },
})

function versionTable({ versions }: TemplateView): string {
  return table([
    ['VERSION', '', 'DIGEST', 'SIZE', 'FROM', 'SESSIONS', 'CREATED'],
    ...versions.map((each) => [
      `${each.name}@${each.version}`,
      each.promoted ? 'promoted' : '',
      shortId(each.digest),
      byteCount(each.sizeBytes),
      originOf(each),
      String(each.sessions),
      each.createdAt,
    ]),
  ])
}

function originOf({ origin }: TemplateVersionView): string {
  if (origin.session !== undefined) return `session ${shortId(origin.session)}`
  const parts = [
    ...(origin.packages?.length ? [count(origin.packages.length, 'package')] : []),
    ...(origin.commands?.length ? [count(origin.commands.length, 'command')] : []),
  ]
  return parts.length > 0 ? parts.join(', ') : origin.kind
}

/** How a build is shown, and ended by Ctrl-C. */
function callOf(flags: Flags): TemplateCallOptions {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const onOutput: TemplateCallOptions['onOutput'] = flags.json
    ? (line) => process.stdout.write(jsonLine(line))
    : showBuild
  return { onOutput, signal: stop.signal }
}

function tellBuilt(flags: Flags, template: TemplateVersionView): void {
  process.stdout.write(flags.json ? jsonLine({ type: 'built', template }) : builtLines(template))
}

function given({ env: pairs = [], memory: memoryMiB }: GivenFlags) {
  return {
    env: Object.fromEntries(pairs.map(parsePair)),
    resources: memoryMiB === undefined ? {} : { memoryMiB },
  }
}

interface BuildFlags extends GivenFlags {
  from?: string
  package?: string[]
  run?: string[]
  file?: string
  image?: string
  buildArg?: string[]
}

/** What the folder says, and the flags. */
async function recipeOf(flags: BuildFlags, folder: string | undefined): Promise<TemplateRecipe> {
  const { from, package: packages, run: commands, file, buildArg = [], promote } = flags
  const said = {
    ...given(flags),
    ...(from === undefined ? {} : { from }),
    ...(packages ? { packages } : {}),
    ...(commands ? { commands } : {}),
  }
  const recipe = folder === undefined || file !== undefined ? undefined : await readRecipe(folder)
  if (recipe) return { ...withFlags(recipe, said), promote }
  if (folder === undefined && file === undefined) return { ...said, promote }
  const found = await readDockerfile(folder ?? '.', file)
  if (!found)
    throw new Vm0Error('INVALID_REQUEST', `${folder} has no Dockerfile and no ${recipeName}`, {
      hint: 'docs/templates.md shows what a template is made of.',
    })
  return { ...found, ...said, buildArgs: Object.fromEntries(buildArg.map(parsePair)), promote }
}

const build = buildCommand({
  docs: {
    brief: 'Make a new version of a template',
    fullDescription: help(
      [
        'vm0 templates build web --package postgresql-client --run "npm install -g serve"',
        'vm0 templates build web ./environment --promote',
        'vm0 templates build web --from web@2 --env TZ=UTC',
        'vm0 templates build web . --build-arg VERSION=3',
        'vm0 templates build base --image debian.tar',
      ],
      [
        `A folder's Dockerfile, or its ${recipeName}: {"from": "standard", "packages": [], "commands": [], "env": {},`,
        '"resources": {}}; or flags, which say the same: packages are installed first, then commands run as root, in a sandbox over',
        'the template of --from. Or an OCI image, each layer of which is checked and made anew. A step that fails ends the',
        'build (exit status 3) and nothing of it is kept. The first version of a name is what the name means; a later one with',
        '--promote, or by `vm0 templates promote`.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      from: { kind: 'parsed', parse: String, optional: true, brief: 'Template below (default: standard)' },
      package: many('Debian package; may be repeated', 'NAME'),
      run: many('Shell command; may be repeated', 'COMMAND'),
      env,
      memory,
      file: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Dockerfile (default: that of the folder)',
        placeholder: 'FILE',
      },
      image: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'OCI image: a tar or the folder of a layout',
        placeholder: 'FILE',
      },
      buildArg: many('Of a Dockerfile; may be repeated', 'NAME=VALUE'),
      promote: promoteFlag,
    },
    aliases: { f: 'file' },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'Template', parse: String, placeholder: 'NAME' },
        { brief: `Folder with a Dockerfile or a ${recipeName}`, parse: String, placeholder: 'FOLDER', optional: true },
      ],
    },
  },
  async func(this: CommandContext, flags: BuildFlags, name: string, folder?: string) {
    const { templates } = createClient()
    if (flags.image !== undefined) {
      const content = await openImage(flags.image)
      return tellBuilt(flags, await templates.fromImage(name, content, { promote: flags.promote, ...callOf(flags) }))
    }
    tellBuilt(flags, await templates.build(name, await recipeOf(flags, folder), callOf(flags)))
  },
})

const fromSession = buildCommand({
  docs: {
    brief: 'Make a version of a template of what a session has',
    fullDescription: help(
      ['vm0 templates from-session 9f3c1e70 web', 'vm0 templates from-session 9f3c1e70 web --promote'],
      'Its files, software and working directory come along, its conversation does not.',
    ),
  },
  parameters: {
    flags: { json, env, memory, promote: promoteFlag },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'Session', parse: String, placeholder: 'SESSION' },
        { brief: 'Template', parse: String, placeholder: 'NAME' },
      ],
    },
  },
  async func(this: CommandContext, flags: GivenFlags, session: string, name: string) {
    const client = createClient()
    const { env: variables, resources } = given(flags)
    const facts = { env: variables, ...(flags.memory === undefined ? {} : { resources }), promote: flags.promote }
    const id = await findSession(client, session)
    tellBuilt(flags, await client.sessions.get(id).toTemplate(name, { ...facts, ...callOf(flags) }))
  },
})

const promote = buildCommand({
  docs: {
    brief: 'Have a name mean a version',
    fullDescription: help(
      ['vm0 templates promote web@3'],
      'New sessions begin with it; those that are there keep theirs.',
    ),
  },
  parameters: {
    flags: { json },
    positional: { kind: 'tuple', parameters: [{ brief: 'Version', parse: String, placeholder: 'NAME@N' }] },
  },
  async func(this: CommandContext, flags: Flags, wanted: string) {
    const { name, version } = versionOf(wanted)
    if (version === undefined)
      throw new Vm0Error('INVALID_REQUEST', `${wanted}: expected NAME@N, such as web@3`, {
        hint: '`vm0 templates show NAME` lists the versions.',
      })
    tellPromoted(flags, await createClient().templates.promote(name, version))
  },
})

const rollback = buildCommand({
  docs: {
    brief: 'Have a name mean again what it meant before',
    fullDescription: help(['vm0 templates rollback web'], 'Sessions keep the version that they have.'),
  },
  parameters: { flags: { json }, positional: nameArgument },
  async func(this: CommandContext, flags: Flags, name: string) {
    tellPromoted(flags, await createClient().templates.rollback(name))
  },
})

function tellPromoted(flags: Flags, view: TemplateView): void {
  process.stdout.write(flags.json ? jsonLine(view) : `${view.name} means ${view.name}@${view.promoted}\n`)
}

const remove = buildCommand({
  docs: {
    brief: 'Remove a version of a template, or all of it',
    fullDescription: help(['vm0 templates rm web@1', 'vm0 templates rm web'], 'Refused while a session needs it.'),
  },
  parameters: { flags: { json }, positional: versionArgument },
  async func(this: CommandContext, flags: Flags, wanted: string) {
    const { name, version } = versionOf(wanted)
    await createClient().templates.delete(name, version)
    if (flags.json)
      process.stdout.write(jsonLine({ name, ...(version === undefined ? {} : { version }), deleted: true }))
  },
})

function versionOf(wanted: string): { name: string; version: number | undefined } {
  const [, name = wanted, version] = /^([^@]+)@([1-9][0-9]*)$/.exec(wanted) ?? []
  return { name, version: version === undefined ? undefined : Number(version) }
}

export const templates = buildRouteMap({
  docs: {
    brief: 'What sessions begin with, in versions',
    fullDescription: help([
      'vm0 templates',
      'vm0 templates build web --package postgresql-client',
      'vm0 run --template web "…"',
      'vm0 templates promote web@2',
    ]),
  },
  defaultCommand: 'ls',
  routes: { ls: list, show, build, fromSession, promote, rollback, rm: remove },
})
