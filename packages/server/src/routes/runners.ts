import { runnerStatusSchema } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

/** The hosts that carry sandboxes. */
export function runnerRoutes(app: App, { options }: Parts): void {
  app.get(
    '/runners',
    { schema: { response: { 200: z.object({ items: z.array(runnerStatusSchema) }) } } },
    async () => ({ items: [await options.runner.status()] }),
  )
}
