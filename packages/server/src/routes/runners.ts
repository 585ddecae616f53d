import { liveSandboxSchema, runnerStatusSchema } from '@vm0/contract'
import { z } from 'zod'
import type { App, Parts } from '../create-server.js'

/** The hosts that carry sandboxes. */
export function runnerRoutes(app: App, { options }: Parts): void {
  app.get(
    '/runners',
    { schema: { response: { 200: z.object({ items: z.array(runnerStatusSchema) }) } } },
    async () => ({ items: [await options.runner.status()] }),
  )
  app.get(
    '/sandboxes',
    {
      schema: {
        description: "The sandboxes that the project's sessions have at this moment, and what each does.",
        response: { 200: z.object({ items: z.array(liveSandboxSchema) }) },
      },
    },
    async (request) => ({ items: await options.runner.sandboxes(request.projectId) }),
  )
}
