import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ensureTemplate } from '@vm0/sandbox'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checks } from './cgroup2-checks.js'

const timeoutMs = 8 * 60_000

// They run in a virtual machine, see README.md. Its image is made for x86-64 only.
describe.skipIf(process.arch !== 'x64')('on cgroup v2', () => {
  const outcomes = new Map<string, { error?: string }>()
  const interrupt = new AbortController()

  beforeAll(
    async () => {
      const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
      const { image } = await ensureTemplate({ cacheDir })
      const command = ['env', 'NO_COLOR=1', 'node', 'tests/guest/cgroup2-main.ts']
      const options = ['--timeout', String(timeoutMs / 1000), '--disk', `template=${image}`]
      // Should this process be killed, the guest ends too.
      const guest = spawn(
        'setpriv',
        ['--pdeathsig', 'TERM', '--', join(import.meta.dirname, 'guest.sh'), ...options, ...command],
        { stdio: ['ignore', 'pipe', 'pipe'], signal: interrupt.signal },
      )
      let words = ''
      guest.on('error', (error) => (words += error.message))
      guest.stderr.setEncoding('utf8').on('data', (text: string) => (words += text))
      createInterface({ input: guest.stdout }).on('line', (line) => {
        words += `${line}\n`
        if (!line.startsWith('{"name":')) return
        const { name, ...outcome } = JSON.parse(line) as { name: string; error?: string }
        outcomes.set(name, outcome)
      })
      const [status] = (await once(guest, 'close')) as [number | null]
      if (status !== 0) throw new Error(`the guest ended with ${status}: ${words}`)
    },
    timeoutMs + 15 * 60_000,
  )

  afterAll(() => interrupt.abort())

  test.each(Object.keys(checks))('%s', (name) => {
    expect(outcomes.get(name)).toEqual({ durationMs: expect.any(Number) })
  })
})
