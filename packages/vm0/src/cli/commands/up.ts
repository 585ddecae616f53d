import { resolve } from 'node:path'
import { buildCommand, numberParser, type CommandContext } from '@stricli/core'
import { loadPlatform } from '../load-platform.js'
import { numberSetting, setting } from '../setting.js'
import { help } from './shared-flags.js'

interface Flags {
  port?: number
  data?: string
  freeze?: number
  idle?: number
  reclaimBelow?: number
  warm?: number
  warmMin?: number
}

export const up = buildCommand({
  docs: {
    brief: 'Run the platform on this machine',
    fullDescription: help(
      ['vm0 up', 'vm0 up --port 7400 --data /srv/vm0'],
      [
        'Needs root and the package @vm0/platform. Model requests go to ANTHROPIC_BASE_URL with ANTHROPIC_API_KEY; without a',
        'key the answers are scripted. DATABASE_URL names a PostgreSQL to use instead of the embedded database.',
      ].join('\n'),
    ),
  },
  parameters: {
    flags: {
      port: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'Port on 127.0.0.1; 0 takes a free one (VM0_PORT; default: 7300)',
      },
      data: { kind: 'parsed', parse: String, optional: true, brief: 'Folder for sessions and logs (VM0_DATA)' },
      freeze: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: "Seconds until an idle session's processes are frozen (VM0_FREEZE; default: 5)",
      },
      idle: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: "Seconds until an idle session's sandbox is saved and freed (VM0_IDLE; default: 60)",
      },
      reclaimBelow: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief:
          "Percent of the host's memory: with less available, frozen sessions give theirs back (VM0_RECLAIM_BELOW; default: 15)",
      },
      warm: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'The most sandboxes that wait warm for new sessions; 0 keeps none (VM0_WARM; default: 4)',
      },
      warmMin: {
        kind: 'parsed',
        parse: numberParser,
        optional: true,
        brief: 'Sandboxes that wait warm though nobody asks (VM0_WARM_MIN; default: 1)',
      },
    },
  },
  async func(this: CommandContext, flags: Flags) {
    const platform = await loadPlatform()
    const port = numberSetting(flags.port, 'VM0_PORT')
    const freeze = numberSetting(flags.freeze, 'VM0_FREEZE')
    const idle = numberSetting(flags.idle, 'VM0_IDLE')
    const reclaimBelow = numberSetting(flags.reclaimBelow, 'VM0_RECLAIM_BELOW')
    const warm = numberSetting(flags.warm, 'VM0_WARM')
    const warmMin = numberSetting(flags.warmMin, 'VM0_WARM_MIN')
    const data = setting(flags.data, 'VM0_DATA')
    process.exitCode = await platform.up({
      ...(port === undefined ? {} : { port }),
      ...(freeze === undefined ? {} : { freezeMs: freeze * 1000 }),
      ...(idle === undefined ? {} : { idleMs: idle * 1000 }),
      ...(reclaimBelow === undefined ? {} : { reclaimBelow }),
      ...(warm === undefined ? {} : { warm }),
      ...(warmMin === undefined ? {} : { warmMin }),
      ...(data ? { dataDir: resolve(data) } : {}),
    })
  },
})
