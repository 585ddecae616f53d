import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compatScript, listed, makeFixture, readFixtures } from './compat/fixture.js'
import { TestPlatform } from './support/platform.js'

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([compatScript], {}, { args: ['--warm', '0'] })
})
afterAll(() => platform?.stop())

const fixtures = await readFixtures()
const making = process.env.VM0_COMPAT_FIXTURE

test.runIf(making)('makes the fixture of this version', async () => {
  process.stderr.write(`${await makeFixture(platform.client, making as string)}\n`)
})

test.skipIf(making)('every version that was tagged, and this one, has a fixture', async () => {
  const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../package.json'), 'utf8')) as {
    version: string
  }
  expect(fixtures.map((fixture) => fixture.version)).toContain(version)
})

test.skipIf(making).each(fixtures.map((fixture) => [fixture.version, fixture] as const))(
  'a session that VM0 %s exported opens: conversation, files, modes, links; and a run goes on in it',
  async (_, { archive, expected }) => {
    // Its own template was built on another machine; a session's files go onto today's as they are.
    const session = await platform.client.sessions.import(archive, { template: 'standard' })
    expect(await listed(session)).toBe(expected.listing)
    expect(await session.get()).toMatchObject({ labels: { made: 'for compatibility' } })

    const before = platform.model.requests.length
    expect((await session.run('go on with it')).text).toBe('it is all there')
    const asked = JSON.stringify(platform.model.requests.slice(before).map(({ messages }) => messages))
    for (const prompt of expected.prompts) expect(asked).toContain(prompt)
    expect(asked).toContain(String.raw`print(\"hello\")\nprint(\"bye\")`)
    await session.close()
    expect(await listed(session)).toBe(expected.listing)
  },
)
