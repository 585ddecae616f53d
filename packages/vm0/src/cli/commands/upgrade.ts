import { buildCommand, type CommandContext } from '@stricli/core'
import { toVm0Error, Vm0Error, type SessionView, type TemplateList, type UpgradeReport } from '@vm0/contract/client'
import { createClient, type Vm0 } from '../../client.js'
import { findSession } from '../find-id.js'
import { count, shortId, templateName } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { green, red } from '../style.js'
import { help, json } from './shared-flags.js'

interface Flags {
  json: boolean
  template: string
  all: boolean
  dryRun: boolean
}

/** Of the files that a session hides, as many are shown. */
const shownPaths = 20

export const upgrade = buildCommand({
  docs: {
    brief: 'Move a session to another template, with its files and software',
    fullDescription: help(
      [
        'vm0 sessions upgrade 9f3c1e70 --template web@3 --dry-run',
        'vm0 sessions upgrade 9f3c1e70 --template web',
        'vm0 sessions upgrade --all --template web',
      ],
      [
        'Shows the files that are otherwise in the new template and that the session goes on seeing as it has them itself. The move is',
        'a checkpoint more: `vm0 rollback` undoes it. --all takes the idle sessions that stand on another version of the same',
        'template (of `standard`: on an earlier one); one that is busy is left as it is, and the exit status is 3 then.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      json,
      template: { kind: 'parsed', parse: String, brief: 'Where to: NAME, NAME@N or a digest', placeholder: 'TEMPLATE' },
      all: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'All sessions on other versions of the template',
      },
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Only say what would be done' },
    },
    aliases: { n: 'dryRun' },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'Session', parse: String, placeholder: 'SESSION', optional: true }],
    },
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    if (flags.all === (given !== undefined))
      throw new Vm0Error('INVALID_REQUEST', 'expected one SESSION, or --all', {
        hint: '`vm0 sessions ls` lists the sessions.',
      })
    const client = createClient()
    const templates = await client.templates.list()
    const ids =
      given === undefined ? await sessionsOn(client, flags.template, templates) : [await findSession(client, given)]
    let failed = 0
    for (const id of ids)
      try {
        const report = await client.sessions.get(id).upgrade(flags.template, { dryRun: flags.dryRun })
        process.stdout.write(flags.json ? jsonLine(report) : words(report, templates))
      } catch (thrown) {
        if (!flags.all) throw thrown
        failed += 1
        const { code, message } = toVm0Error(thrown)
        process.stdout.write(
          flags.json
            ? jsonLine({ sessionId: id, error: { code, message } })
            : `${red('✗')} session ${shortId(id)}   ${code}: ${printableLine(message)}\n`,
        )
      }
    if (flags.all && !flags.json && ids.length === 0)
      process.stdout.write('no session stands on another version of it\n')
    if (failed > 0) process.exitCode = 3
  },
})

/** Those that stand on other versions of what the text names. */
async function sessionsOn(client: Vm0, text: string, templates: TemplateList): Promise<string[]> {
  const named = (digest: string) =>
    templates.items.filter(({ versions }) => versions.some((each) => each.digest === digest)).map(({ name }) => name)
  const [name = text] = text.startsWith('sha256:') ? named(text) : text.split('@')
  const found: SessionView[] = []
  for (let before: string | null | undefined; before !== null;) {
    const page = await client.sessions.list({ limit: 200, ...(before ? { before } : {}) })
    found.push(...page.items)
    before = page.next
  }
  const isOn = ({ template }: SessionView): boolean =>
    name === 'standard' ? named(template).length === 0 : named(template).includes(name)
  return found.filter(isOn).map(({ id }) => id)
}

function words(
  { sessionId, from, to, moved, before, head, shadowed, merged }: UpgradeReport,
  templates: TemplateList,
): string {
  const nameOf = (digest: string): string => {
    const versions = templates.items.flatMap((each) => each.versions)
    const version = versions.find((each) => each.digest === digest)
    return version ? `${version.name}@${version.version}` : templateName(digest)
  }
  const session = `session ${shortId(sessionId)}`
  if (from === to) return `${session} stands on ${nameOf(to)} already\n`
  const { items, more } = shadowed
  const shown = items.slice(0, shownPaths)
  const paths = shown.map(
    ({ path, session: has, template }) => `    ${printableLine(path)}   ${has} here, ${template} there\n`,
  )
  const rest =
    more || items.length > shown.length
      ? `    and ${more ? 'many' : items.length - shown.length} more: --json has them\n`
      : ''
  const hidden =
    items.length === 0
      ? '  hides nothing that changed\n'
      : `  goes on seeing its own ${count(items.length, 'file')}:\n${paths.join('')}${rest}`
  const lists = merged
    .map((path) => `  ${printableLine(path)}: its own packages beside those of the template\n`)
    .join('')
  const what = moved ? `${green('✓')} ${session} moved` : `${session} would move`
  const undo = moved && before !== null && head !== before ? `  vm0 rollback ${shortId(before)} undoes it\n` : ''
  return `${what} from ${nameOf(from)} to ${nameOf(to)}\n${hidden}${lists}${undo}`
}
