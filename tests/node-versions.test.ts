import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { leftovers } from './support/leftovers.js'
import { nodeRelease } from './support/node-release.js'
import { TestPlatform } from './support/platform.js'

const command = join(import.meta.dirname, '../packages/vm0/dist/cli/main.js')
const script = {
  name: 'node versions',
  conversations: [
    {
      when: 'say hello',
      steps: [
        { tools: [{ name: 'Bash', input: { command: 'echo hello > hello.txt', description: 'x' } }] },
        { text: 'hello' },
      ],
    },
  ],
}

// The oldest that package.json's `engines` allow, and the newer long-term lines.
test.each(['20.19.0', '22.23.3', '24.21.0'])(
  'the platform and the command work on Node %s, and end without a trace',
  async (version) => {
    const node = await nodeRelease(version)
    expect((await promisify(execFile)(node, ['--version'])).stdout).toBe(`v${version}\n`)
    const platform = await TestPlatform.start([script], {}, { vm0: [node, command] })
    try {
      const run = await platform.cli('run', 'say hello')
      expect(run).toMatchObject({ status: 0, stdout: expect.stringContaining('✓ done') })
      expect(await platform.cli('exec', '--', 'cat', 'hello.txt')).toEqual({ status: 0, stdout: 'hello\n', stderr: '' })
      expect(await leftovers(platform.directory)).not.toEqual([])
      expect(await platform.down()).toBe(0)
      expect(await leftovers(platform.directory)).toEqual([])
    } finally {
      await platform.stop()
    }
  },
  300_000,
)
