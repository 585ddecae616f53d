import { buildCommand, buildRouteMap, type CommandContext } from '@stricli/core'
import type { EncryptionKey, ResealReport } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { byteCount, count, table } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { green, red } from '../style.js'
import { help, json } from './shared-flags.js'

const unopenedStatus = 3

const note =
  'Layers and manifests in a bucket, prompts and results in the database are sealed with AES-256-GCM under keys that are derived, one per project, from the master keys in keys/master.json of the data folder. Needs a key with the scope `installation`.'

const line = (
  { id, newest, objects, rows, sandboxes }: EncryptionKey,
  state = newest ? 'seals and opens' : 'opens',
) => [id, state, String(objects), String(rows), String(sandboxes)]

async function reseal(newKey: boolean, asJson: boolean): Promise<void> {
  const onProgress = (message: string): void => {
    if (!asJson && process.stderr.isTTY) process.stderr.write(`${printableLine(message)}\n`)
  }
  const report = await createClient().store.reseal({ newKey, onProgress })
  if (report.problems.length > 0) process.exitCode = unopenedStatus
  if (asJson) process.stdout.write(jsonLine(report))
  else for (const each of sentences(report)) process.stdout.write(`${each}\n`)
}

function* sentences({ key, objects, bytes, rows, problems }: ResealReport): Generator<string> {
  for (const problem of problems) yield `${red('✗')} ${printableLine(problem)}`
  const done = `${count(objects, 'object')} (${byteCount(bytes)}) and ${count(rows, 'value')} of the database were sealed under the key ${key}`
  yield problems.length === 0
    ? `${green('✓')} ${done}`
    : `${done}; ${count(problems.length, 'other')} could not be opened`
}

export const encryption = buildRouteMap({
  docs: {
    brief: 'Keys that seal what is stored',
    fullDescription: help(['vm0 encryption', 'vm0 encryption rotate'], note),
  },
  defaultCommand: 'ls',
  routes: {
    ls: buildCommand({
      docs: {
        brief: 'List the master keys and what is sealed under each',
        fullDescription: help(['vm0 encryption', 'vm0 encryption ls --json'], note),
      },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        const { keys, missing, unsealedObjects } = await createClient().store.encryption()
        if (flags.json) return void process.stdout.write(jsonLine({ keys, missing, unsealedObjects }))
        process.stdout.write(
          table([
            ['KEY', 'STATE', 'OBJECTS', 'DATABASE', 'SANDBOXES'],
            ...keys.map((key) => line(key)),
            ...missing.map((key) => line(key, 'missing')),
          ]),
        )
        if (unsealedObjects)
          process.stdout.write(`${count(unsealedObjects, 'object')} not sealed: \`vm0 encryption reseal\`\n`)
      },
    }),
    rotate: buildCommand({
      docs: {
        brief: 'Make a new key and seal everything under it',
        fullDescription: help(
          ['vm0 encryption rotate'],
          'What was sealed before is opened with the earlier keys and sealed anew, beside runs at work. When that was broken off, go on with `vm0 encryption reseal`. Exit status: 3 when something could not be opened.',
        ),
      },
      parameters: { flags: { json } },
      func(this: CommandContext, flags: { json: boolean }) {
        return reseal(true, flags.json)
      },
    }),
    reseal: buildCommand({
      docs: {
        brief: 'Seal under the newest key what is under another one',
        fullDescription: help(['vm0 encryption reseal'], 'Exit status: 3 when something could not be opened.'),
      },
      parameters: { flags: { json } },
      func(this: CommandContext, flags: { json: boolean }) {
        return reseal(false, flags.json)
      },
    }),
    drop: buildCommand({
      docs: {
        brief: 'Forget an older key',
        fullDescription: help(
          ['vm0 encryption drop 3f9a0c21d4e57788'],
          'Refused while anything is sealed under it. Backups of the store from before need it still.',
        ),
      },
      parameters: {
        flags: { json },
        positional: { kind: 'tuple', parameters: [{ brief: 'Id of the key', parse: String, placeholder: 'KEY' }] },
      },
      async func(this: CommandContext, flags: { json: boolean }, id: string) {
        await createClient().store.dropKey(id)
        process.stdout.write(
          flags.json ? jsonLine({ id, dropped: true }) : `${green('✓')} the key ${id} is forgotten\n`,
        )
      },
    }),
  },
})
