import { checkpointDiffSchema, diffParamsSchema, diffQuerySchema } from '@vm0/contract'
import type { App, Parts } from '../create-server.js'
import { stateBefore } from '../lineage.js'

/** What a checkpoint has that another one of the project has not. */
export function diffRoutes(app: App, { options: { database, diffs }, checkpoints }: Parts): void {
  app.get(
    '/checkpoints/:id/diff',
    { schema: { params: diffParamsSchema, querystring: diffQuerySchema, response: { 200: checkpointDiffSchema } } },
    async ({ projectId, params, query }, reply) => {
      const { path, patch, limit, after: cursor } = query
      const { id } = await checkpoints.get(projectId, params.id)
      const against = query.against
        ? (await checkpoints.get(projectId, query.against)).id
        : await stateBefore(projectId, id, database.db)
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      const request = { projectId, before: against, after: id, path, patch, limit, cursor }
      return { checkpoint: id, against, ...(await diffs.diff(request, gone.signal)) }
    },
  )
}
