import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const exec = promisify(execFile)
const bash = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const script = {
  name: 'side-by-side',
  conversations: [
    { when: '^work as (\\w+)', steps: [bash('echo done >> /workspace/log; hostname; sleep 0.3'), { text: 'worked' }] },
    { when: '^wait', steps: [bash('while ! test -e /workspace/go; do sleep 0.05; done'), { text: 'waited' }] },
  ],
}

const platforms: TestPlatform[] = []
afterAll(async () => {
  for (const platform of platforms) await platform.stop()
})

test('two platforms on one machine work at the same time, and the end of one does not touch the other', async () => {
  platforms.push(...(await Promise.all([TestPlatform.start([script]), TestPlatform.start([script])])))
  const [one, two] = platforms as [TestPlatform, TestPlatform]
  const results = await Promise.all(
    [one, two, one, two].map((platform, index) => platform.client.run({ prompt: `work as ${index}` })),
  )
  expect(results.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 4 }, () => 'succeeded'))
  // Each knows its own only, by its own key.
  for (const [platform, own, other] of [
    [one, results[0], results[1]],
    [two, results[1], results[0]],
  ] as const) {
    expect((await platform.client.sessions.get(own!.session.id).get()).id).toBe(own!.session.id)
    await expect(platform.client.sessions.get(other!.session.id).get()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  }
  expect((await one.fetch('/v1/runs', { key: two.apiKey })).status).toBe(401)
  const installations = await Promise.all(
    platforms.map(({ directory }) => readFile(join(directory, 'data/installation'), 'utf8')),
  )
  expect(new Set(installations).size).toBe(2)

  const waiting = two.client.run({ prompt: 'wait' })
  for await (const event of waiting) if (event.type === 'tool.started') break
  await one.kill()
  await one.up()
  expect((await one.client.run({ prompt: 'work as again' })).outcome).toBe('succeeded')
  await waiting.session.files.write('/workspace/go', '')
  expect((await waiting).outcome).toBe('succeeded')
  await one.stop()
  const traces =
    'ip -br link; nft list tables; ls /run/vm0; grep -r "" /run/vm0/slots; find /sys/fs/cgroup -path "*/vm0/*"; true'
  const { stdout } = await exec('sh', ['-c', traces])
  expect([stdout.includes(installations[0]!.trim()), stdout.includes(installations[1]!.trim())]).toEqual([false, true])
  expect((await two.client.run({ prompt: 'work as the last' })).outcome).toBe('succeeded')
}, 180_000)
