import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestEngine } from './engine.test.fixture.js'

/** `VM0_KILLS=200` for a longer one. */
const kills = Number(process.env.VM0_KILLS ?? 24)

let host: TestEngine
beforeAll(async () => {
  host = await TestEngine.open()
}, 900_000)
afterAll(() => host?.close())

test('a process that is killed at any moment of its start ends, and nothing of it stays', async () => {
  await host.withSandbox(async (sandbox) => {
    const none = (await sandbox.stats()).processes
    for (let n = 0; n < kills; n++) {
      const process = await sandbox.spawn({
        id: `p${n}`,
        args: ['sh', '-c', 'sleep 600 & sleep 600'],
        env: {},
        cwd: '/',
        maxOutputBytes: 65_536,
      })
      const afterMs = (n * 7) % 100
      await wait(afterMs)
      await process.kill()
      const ended = await Promise.race([process.exited, wait(5_000, undefined, { ref: false })])
      expect([n, afterMs, ended?.reason]).toEqual([n, afterMs, 'exit'])
      await expect.poll(async () => (await sandbox.stats()).processes, { timeout: 5_000 }).toBe(none)
    }
  })
})
