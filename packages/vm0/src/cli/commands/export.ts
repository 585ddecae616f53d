import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { counted } from '../../transfer/counted.js'
import { findSession } from '../find-id.js'
import { byteCount, shortId } from '../format.js'
import { jsonLine } from '../printable.js'
import { green } from '../style.js'
import { help, json, sessionArgument } from './shared-flags.js'

interface Flags {
  output?: string
  withoutTemplate: boolean
  json: boolean
}

export const exportSession = buildCommand({
  docs: {
    brief: 'Write a session to one file that any VM0 can import',
    fullDescription: help(
      ['vm0 export 9f3c1e70', 'vm0 export 9f3c1e70 -o backup.tar', 'vm0 export -o - | ssh other vm0 import -'],
      [
        'Conversation, files and installed software, as they are now. The file is an OCI image layout: skopeo reads it, and',
        '`podman load -i FILE` gives an image that has the files. --without-template leaves out what the session was made from:',
        'the file is small then, and is imported where that template is known, or onto another one.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      output: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'File, or - for the standard output (default: vm0-SESSION.tar)',
        placeholder: 'FILE',
      },
      withoutTemplate: { kind: 'boolean', default: false, withNegated: false, brief: 'Leave the template out' },
      json,
    },
    aliases: { o: 'output' },
    positional: sessionArgument,
  },
  async func(this: CommandContext, flags: Flags, given?: string) {
    const client = createClient()
    const id = await findSession(client, given)
    const content = await client.sessions.get(id).export({ withoutTemplate: flags.withoutTemplate })
    if (flags.output === '-') return pipeline(content, process.stdout)
    const file = resolve(flags.output ?? `vm0-${shortId(id)}.tar`)
    // Whole or not at all, whatever happens on the way.
    const temporary = `${file}.part`
    let bytes = 0
    try {
      await pipeline(
        counted(content, (length) => (bytes += length)),
        createWriteStream(temporary, { mode: 0o600 }),
      )
      await rename(temporary, file)
    } catch (thrown) {
      if (thrown instanceof Vm0Error) throw thrown
      throw new Vm0Error('FILE_INVALID', `${file} could not be written: ${(thrown as Error).message}`, {
        cause: thrown,
        hint: 'Give a place that may be written and has room: -o FILE.',
      })
    } finally {
      await rm(temporary, { force: true })
    }
    process.stdout.write(flags.json ? jsonLine({ id, file, bytes }) : `${green('✓')} ${file} (${byteCount(bytes)})\n`)
  },
})
