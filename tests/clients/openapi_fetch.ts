// A client by openapi-typescript and openapi-fetch. Its types are half of the test: it must compile under --strict.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string> };

const baseUrl = process.env["BASE_URL"]!;
const api = createClient<paths>({ baseUrl });
let token = "";
api.use({
  onRequest({ request }) {
    if (token) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
});

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const form = { "Content-Type": "application/x-www-form-urlencoded" };

// Login: a grant without a field that it requires does not compile.
const grant: components["schemas"]["PasswordGrant"] = { username: "admin", password: process.env["PASSWORD"]! };
// @ts-expect-error: no password
const incomplete: components["schemas"]["PasswordGrant"] = { username: "admin" };
const refused = await api.POST("/token", { body: { ...incomplete, password: "Wrong-Horse-7" }, headers: form });
check(refused.error?.code === "invalid_credentials", "a wrong password is refused");
const oauth: "invalid_grant" = refused.error.error;
check(oauth === "invalid_grant" && refused.error.error_description.length > 0, "in OAuth's words, too");
const login = await api.POST("/token", { body: grant, headers: form });
check(login.data !== undefined, "logs in");
token = login.data.access_token;

const me = await api.GET("/users/{user_id}", { params: { path: { user_id: "me" } } });
check(me.data?.username === "admin" && me.data.updated_at === null, "reads oneself");

// Errors: the code tells what `detail` is, and a form's field.
const invalid = await api.POST("/users", { body: { username: "x", email: "x", password: "x" } });
check(invalid.error !== undefined, "an invalid user is refused");
// @ts-expect-error: before the code is known, it may be a list
const guess: string = invalid.error.detail;
check(invalid.error.code === "validation_error", `${guess} is a list`);
const limits: number[] = invalid.error.detail.map((broken) => broken.ctx?.min_length ?? 0);
check(limits.includes(3) && limits.includes(8), "the limits of broken rules are told");
const name = { username: "Admin", email: "admin@example.com", password: "Correct-Horse-7" };
const taken = await api.POST("/users", { body: name });
check(taken.error?.code === "username_taken", "a taken name is refused");
const words: string = taken.error.detail;
const field: "username" = taken.error.field;
check(words !== "" && taken.error.errors.map((each) => each.field).join() === `${field},email`, "all at once");

// A list by `Link`, back and forth; the address is resolved against that of the request.
type Query = NonNullable<paths["/users"]["get"]["parameters"]["query"]>;
const list = async (query: Query) => {
  const page = await api.GET("/users", { params: { query } });
  check(page.data !== undefined, "lists");
  const around: Record<string, Query> = {};
  for (const [, target, relation] of (page.response.headers.get("Link") ?? "").matchAll(/<([^>]*)>; rel="(\w+)"/g)) {
    around[relation!] = Object.fromEntries(new URL(target!, page.response.url).searchParams) as Query;
  }
  return { users: page.data, around };
};
const pages = [await list({ page_size: 2, sort: "username" })];
for (let next = pages[0]!.around["next"]; next; next = pages.at(-1)!.around["next"]) pages.push(await list(next));
const seen = pages.flatMap((page) => page.users.map((user) => user.username));
check(seen.join() === "admin,user0,user1,user2,user3", `pages by Link: ${seen}`);
const before = await list(pages.at(-1)!.around["prev"]!);
check(before.users.map((user) => user.username).join() === "user1,user2", "and back");

// A change that is safe against others': the second one with the same version is told so.
const [row] = pages[1]!.users;
const path = { user_id: String(row!.id) };
const header = { "If-Match": `"${row!.version}"` };
const changed = await api.PATCH("/users/{user_id}", { params: { path, header }, body: { age: 42 } });
check(changed.data?.age === 42, "changes");
const late = await api.PATCH("/users/{user_id}", { params: { path, header }, body: { age: 43 } });
check(late.response.status === 412 && late.error?.code === "precondition_failed", "a late change is refused");
const said: string = late.error.detail;
check(said.length > 0, "in words");

const refresh: components["schemas"]["RefreshGrant"] = {
  grant_type: "refresh_token",
  refresh_token: login.data.refresh_token ?? "",
};
const renewed = await api.POST("/token", { body: refresh, headers: form });
check(renewed.data !== undefined, "refreshes");
token = renewed.data.access_token;

const sessions = await api.GET("/users/{user_id}/sessions", { params: { path: { user_id: "me" } } });
check(sessions.data?.filter((session) => session.current).length === 1, "lists sessions");

const bye = await api.POST("/revoke", { body: { token: renewed.data.refresh_token ?? "" }, headers: form });
check(bye.response.ok, "logs out");
const after = await api.GET("/users/{user_id}", { params: { path: { user_id: "me" } } });
check(after.response.status === 401 && after.error?.code === "session_ended", "is logged out");
