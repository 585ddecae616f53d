import { resolve } from 'node:path'
import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import { Vm0Error } from '@vm0/contract/client'

interface Platform {
  up(options: { port?: number; dataDir?: string; idleMs?: number; warm?: number }): Promise<number>
}

export const up = buildCommand({
  docs: {
    brief: 'Run the platform on this machine',
    fullDescription:
      'Needs root and the package @vm0/platform. Examples:\n  vm0 up\n  vm0 up --port 7400 --data /srv/vm0',
  },
  parameters: {
    flags: {
      port: { kind: 'parsed', parse: numberParser, default: '7300', brief: 'Port on 127.0.0.1; 0 takes a free one' },
      data: { kind: 'parsed', parse: String, optional: true, brief: 'Folder for sessions and logs' },
      idle: {
        kind: 'parsed',
        parse: numberParser,
        default: '60',
        brief: "Seconds until an idle session's sandbox is saved and freed",
      },
      warm: {
        kind: 'parsed',
        parse: numberParser,
        default: '4',
        brief: 'The most sandboxes that are kept warm for new sessions; 0 keeps none',
      },
    },
  },
  async func(this: CommandContext, flags: { port: number; data?: string; idle: number; warm: number }) {
    const name: string = '@vm0/platform' // not a dependency: an application that only calls VM0 stays light
    const platform = await (import(name) as Promise<Platform>).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ERR_MODULE_NOT_FOUND') throw cause
      throw new Vm0Error(
        'PLATFORM_MISSING',
        'the package @vm0/platform, which holds the server and the runner, is not installed here',
        { cause },
      )
    })
    process.exitCode = await platform.up({
      port: flags.port,
      idleMs: flags.idle * 1000,
      warm: flags.warm,
      ...(flags.data ? { dataDir: resolve(flags.data) } : {}),
    })
  },
})
