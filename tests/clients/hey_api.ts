// A client by @hey-api/openapi-ts.
import { client } from "./hey_api_client/client.gen.js";
import { createUser, listSessions, listUsers, logIn, patchUser, readUser, revokeToken } from "./hey_api_client/index.js";

declare const process: { env: Record<string, string> };

let token = "";
client.setConfig({ baseUrl: process.env["BASE_URL"]!, auth: () => token });

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const login = await logIn({ body: { username: "admin", password: process.env["PASSWORD"]! } });
check(login.data !== undefined, "logs in");
token = login.data.access_token;

const me = await readUser({ path: { user_id: "me" } });
check(me.data?.username === "admin", "reads oneself");

const taken = await createUser({ body: { username: "admin", email: "a@example.com", password: "Correct-Horse-7" } });
check(taken.error?.code === "username_taken", "a taken name is refused");
const words: string = taken.error.detail;
check(words !== "" && taken.error.field === "username", "in words, of a field");

const first = await listUsers({ query: { page_size: 2 } });
check(first.data !== undefined, "lists");
const [, target] = /<([^>]*)>; rel="next"/.exec(first.response?.headers.get("Link") ?? "")!;
const following = Object.fromEntries(new URL(target!, first.response!.url).searchParams);
const second = await listUsers({ query: following });
check(second.data?.map((user) => user.username).join() === "user1,user2", "pages by Link");

const [row] = second.data;
const change = { path: { user_id: String(row!.id) }, headers: { "If-Match": `"${row!.version}"` } };
check((await patchUser({ ...change, body: { age: 42 } })).data?.age === 42, "changes");
const late = await patchUser({ ...change, body: { age: 43 } });
check(late.response?.status === 412 && late.error?.code === "precondition_failed", "a late change is refused");
const said: string = late.error.detail;
check(said.length > 0, "in words");

const renewed = await logIn({ body: { grant_type: "refresh_token", refresh_token: login.data.refresh_token ?? "" } });
check(renewed.data !== undefined, "refreshes");
token = renewed.data.access_token;

const sessions = await listSessions({ path: { user_id: "me" } });
check(sessions.data?.filter((session) => session.current).length === 1, "lists sessions");

check((await revokeToken({ body: { token } })).response?.ok === true, "logs out");
const after = await readUser({ path: { user_id: "me" } });
check(after.error?.code === "session_ended", "is logged out");
