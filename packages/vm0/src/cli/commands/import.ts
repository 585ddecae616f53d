import { createReadStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { resolve } from 'node:path'
import { buildCommand, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { shortId } from '../format.js'
import { jsonLine } from '../printable.js'
import { green } from '../style.js'
import { help, json } from './shared-flags.js'

export const importSession = buildCommand({
  docs: {
    brief: 'Make a session of a file that `vm0 export` wrote',
    fullDescription: help(
      [
        'vm0 import vm0-9f3c1e70.tar',
        'vm0 import - < vm0-9f3c1e70.tar',
        'vm0 run -s "$(vm0 import FILE --json | jq -r .id)" "go on"',
      ],
      [
        'It keeps its id where that is free in this project. Every digest is checked and every layer made anew; a file that',
        'leads out of itself, is damaged, too large or made by a newer VM0 is refused with the reason.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      template: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Go on with this template instead of its own',
        placeholder: 'TEMPLATE',
      },
      json,
    },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'File, or - for the standard input', parse: String, placeholder: 'FILE' }],
    },
  },
  async func(this: CommandContext, flags: { template?: string; json: boolean }, given: string) {
    const file = resolve(given)
    if (given !== '-')
      await access(file, constants.R_OK).catch((cause: NodeJS.ErrnoException) => {
        throw new Vm0Error('FILE_NOT_FOUND', `${file} can't be read: ${cause.message}`, {
          cause,
          hint: 'Give a file that `vm0 export` wrote.',
        })
      })
    const content = given === '-' ? process.stdin : createReadStream(file)
    const { template } = flags
    const session = await createClient().sessions.import(content, template === undefined ? {} : { template })
    process.stdout.write(
      flags.json
        ? jsonLine({ id: session.id })
        : `${green('✓')} session ${session.id}\n  vm0 run -s ${shortId(session.id)} "…"\n`,
    )
  },
})
