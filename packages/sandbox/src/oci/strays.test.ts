import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { endStrays } from './strays.js'

const installation = `s${process.pid.toString(36)}`

/** A program that lives until it is killed, with this environment; resolves when it runs. */
async function living(environment: Record<string, string>, ...wrapper: string[]): Promise<ChildProcess> {
  const [command, ...args] = [...wrapper, 'sh', '-c', 'echo lives; exec sleep 600']
  const child = spawn(command as string, args, { env: { PATH: process.env.PATH, ...environment }, stdio: 'pipe' })
  for await (const line of createInterface({ input: child.stdout! })) if (line === 'lives') break
  return child
}

test('programs that a killed platform left at work are ended; those of others and of sandboxes are not', async () => {
  const stray = await living({ VM0_INSTALLATION: installation, OTHER: 'x' })
  const others = await Promise.all([
    living({ VM0_INSTALLATION: `${installation}b` }),
    living({ OTHER: `VM0_INSTALLATION=${installation}` }),
  ])
  // What is in a sandbox chooses its own environment.
  const inside = await living(
    {},
    'unshare',
    '--pid',
    '--fork',
    '--kill-child',
    'env',
    `VM0_INSTALLATION=${installation}`,
  )
  const ended = once(stray, 'close')
  await endStrays(installation)
  expect((await ended)[1]).toBe('SIGKILL')
  for (const child of [...others, inside]) {
    expect([child.exitCode, child.signalCode]).toEqual([null, null])
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }
})
