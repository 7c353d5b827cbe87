//! What processes of the node ask of sockets, at the root of the cgroups; a program for each family.

mod connect;
mod getpeername;
mod recvmsg;
mod sendmsg;
