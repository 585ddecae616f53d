import { PassThrough } from 'node:stream'
import { installFrameworkSchema, toVm0Error, Vm0Error, type InstallOutput } from '@vm0/contract'
import type { App, Parts } from '../create-server.js'

/** Installing an agent release takes as long as its download: the answer is NDJSON, a line for each step. */
export function frameworkRoutes(app: App, { options }: Parts): void {
  // What is installed is installed for every project.
  const config = { scope: 'installation' as const }
  app.post('/frameworks', { schema: { body: installFrameworkSchema }, config }, async (request, reply) => {
    const { name, version } = request.body
    const known = options.frameworkNames
    if (!known.includes(name))
      throw new Vm0Error(
        'UNKNOWN_FRAMEWORK',
        `framework ${JSON.stringify(name)} is unknown; expected one of ${known.join(', ')}`,
      )
    const answer = new PassThrough()
    const say = (line: InstallOutput): void => {
      answer.write(`${JSON.stringify(line)}\n`)
    }
    // Goes on when the client leaves: the next one finds the release installed.
    const work = async (): Promise<void> => {
      try {
        await options.installFramework(name, version, (message) => say({ type: 'progress', message }))
        const framework = (await options.frameworks()).find((each) => each.name === name)
        if (framework) say({ type: 'installed', framework })
      } catch (thrown) {
        const { code, message, hint } = toVm0Error(thrown)
        say({ type: 'error', code, message, hint })
      } finally {
        answer.end()
      }
    }
    void work()
    return reply.type('application/x-ndjson').send(answer)
  })
}
